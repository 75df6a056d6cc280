// Renders the cases of cases.json with External Secrets' own template engine and prints, as JSON, what became of each:
// {"NAME": {"output": "…"}}, {"output64": "…"} if the bytes are not UTF-8, or {"error": "…"}.
//
//	template-engine cases.json               the cases that this engine knows
//	template-engine -all cases.json          also those marked "since": for a program built with a newer engine
//	template-engine -check golden.json cases.json
//	                                         prints nothing; fails if the golden file says otherwise
//	template-engine -trust-store PASSWORD    prints the subjects in the PKCS#12 trust store (base64) on standard input
package main

import (
	"encoding/base64"
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"os"
	"unicode/utf8"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	engine "github.com/external-secrets/external-secrets/pkg/template/v2"
	corev1 "k8s.io/api/core/v1"
	"software.sslmate.com/src/go-pkcs12"
)

type testCase struct {
	Name     string            `json:"name"`
	Template string            `json:"template"`
	Data     map[string]string `json:"data"`
	Data64   map[string]string `json:"data64"`
	Fixtures []string          `json:"fixtures"`
	Since    string            `json:"since"`
	Shape    string            `json:"shape"`
}

type table struct {
	Fixtures map[string]string `json:"fixtures"`
	Cases    []testCase        `json:"cases"`
}

type result struct {
	Output   *string `json:"output,omitempty"`
	Output64 string  `json:"output64,omitempty"`
	Error    string  `json:"error,omitempty"`
}

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run() error {
	all := flag.Bool("all", false, "render the cases of newer engines too")
	golden := flag.String("check", "", "a golden file to compare with")
	trusted := flag.Bool("trust-store", false, "read a trust store")
	flag.Parse()
	if *trusted {
		return trustStore(os.Stdin, flag.Arg(0))
	}
	var t table
	if err := read(flag.Arg(0), &t); err != nil {
		return err
	}
	results := make(map[string]result, len(t.Cases))
	for _, c := range t.Cases {
		if c.Since != "" && !*all {
			continue
		}
		if _, twice := results[c.Name]; twice {
			return fmt.Errorf("two cases are called %q", c.Name)
		}
		results[c.Name] = render(c, t.Fixtures)
	}
	if *golden != "" {
		return check(*golden, t, results)
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	out.SetIndent("", "  ")
	return out.Encode(results)
}

func trustStore(from io.Reader, password string) error {
	store, err := io.ReadAll(base64.NewDecoder(base64.StdEncoding, from))
	if err != nil {
		return err
	}
	certificates, err := pkcs12.DecodeTrustStore(store, password)
	for _, certificate := range certificates {
		fmt.Println(certificate.Subject)
	}
	return err
}

func read(path string, into any) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return json.Unmarshal(text, into)
}

// Errors must be errors in both; their texts may differ between versions of the engine.
func check(path string, t table, results map[string]result) error {
	var golden map[string]result
	if err := read(path, &golden); err != nil {
		return err
	}
	differ := 0
	for _, c := range t.Cases {
		now, rendered := results[c.Name]
		if !rendered {
			continue
		}
		then, known := golden[c.Name]
		same := known && (now.Error != "") == (then.Error != "")
		if same && now.Error == "" && c.Shape == "" {
			same = now.Output64 == then.Output64 && deref(now.Output) == deref(then.Output)
		}
		if !same {
			differ++
			fmt.Fprintf(os.Stderr, "%s: the engine says %+v\n", c.Name, now)
		}
	}
	if differ > 0 {
		return fmt.Errorf("%d cases are not as in %s", differ, path)
	}
	fmt.Fprintf(os.Stderr, "%d cases are as in %s\n", len(results), path)
	return nil
}

func deref(text *string) string {
	if text == nil {
		return ""
	}
	return *text
}

// A panic of the engine's, which it lets out in places, is a failure like any other.
func render(c testCase, fixtures map[string]string) (r result) {
	defer func() {
		if p := recover(); p != nil {
			r = result{Error: fmt.Sprintf("panic: %v", p)}
		}
	}()
	data := make(map[string][]byte)
	for key, value := range c.Data {
		data[key] = []byte(value)
	}
	for _, key := range c.Fixtures {
		data[key] = []byte(fixtures[key])
	}
	for key, value := range c.Data64 {
		raw, err := base64.StdEncoding.DecodeString(value)
		if err != nil {
			return result{Error: "data64: " + err.Error()}
		}
		data[key] = raw
	}
	output, err := execute(c.Template, data)
	if err != nil {
		return result{Error: err.Error()}
	}
	if utf8.Valid(output) {
		text := string(output)
		return result{Output: &text}
	}
	return result{Output64: base64.StdEncoding.EncodeToString(output)}
}

const key = "t"

func execute(source string, data map[string][]byte) ([]byte, error) {
	secret := &corev1.Secret{}
	templates := map[string][]byte{key: []byte(source)}
	if err := engine.Execute(templates, data, esv1.TemplateScopeValues, esv1.TemplateTargetData, secret); err != nil {
		return nil, err
	}
	return secret.Data[key], nil
}
