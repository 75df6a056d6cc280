// Package clients runs External Secrets' own 1Password provider against a running server as its controller
// does: NewClient gets a store and a Kubernetes client that has the token's Secret.
//
// The caller sets up the server, its two vaults and the tokens; see run.sh here and README.md one folder up.
package clients

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/1Password/connect-sdk-go/connect"
	"github.com/1Password/connect-sdk-go/onepassword"
	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	esmeta "github.com/external-secrets/external-secrets/apis/meta/v1"
	provider "github.com/external-secrets/external-secrets/pkg/provider/onepassword"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

const (
	// Writable, empty at the start.
	apps = "apps"
	// Read-only: filled from a directory.
	secrets = "secrets"

	namespace = "team"
)

var required = []string{
	"OP_CONNECT_HOST",
	"OP_CONNECT_TOKEN",
	"SIDEVAULT_READONLY_TOKEN",
	"SIDEVAULT_SECRETS_ONLY_TOKEN",
	"SIDEVAULT_EXPIRED_TOKEN",
}

func TestMain(m *testing.M) {
	for _, name := range required {
		if os.Getenv(name) == "" {
			fmt.Fprintf(os.Stderr, "%s is not set: this suite needs a running server\n", name)
			os.Exit(2)
		}
	}
	os.Exit(m.Run())
}

func store(vaults map[string]int) *esv1.SecretStore {
	return &esv1.SecretStore{
		TypeMeta:   metav1.TypeMeta{Kind: esv1.SecretStoreKind},
		ObjectMeta: metav1.ObjectMeta{Name: "store", Namespace: namespace},
		Spec: esv1.SecretStoreSpec{Provider: &esv1.SecretStoreProvider{OnePassword: &esv1.OnePasswordProvider{
			ConnectHost: os.Getenv("OP_CONNECT_HOST"),
			Vaults:      vaults,
			Auth: &esv1.OnePasswordAuth{SecretRef: &esv1.OnePasswordAuthSecretRef{
				ConnectToken: esmeta.SecretKeySelector{Name: "connect", Key: "token"},
			}},
		}}},
	}
}

// open makes the provider as the controller does. The store searches the vaults in this order.
func open(t *testing.T, token string, vaults map[string]int) esv1.SecretsClient {
	t.Helper()
	kube := fake.NewClientBuilder().WithObjects(&corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Name: "connect", Namespace: namespace},
		Data:       map[string][]byte{"token": []byte(token)},
	}).Build()
	s := store(vaults)
	p := &provider.ProviderOnePassword{}
	_, err := p.ValidateStore(s)
	must(t, err)
	opened, err := p.NewClient(context.Background(), s, kube, namespace)
	must(t, err)
	t.Cleanup(func() { must(t, opened.Close(context.Background())) })
	return opened
}

func reader(t *testing.T, vaults map[string]int) esv1.SecretsClient {
	t.Helper()
	return open(t, os.Getenv("OP_CONNECT_TOKEN"), vaults)
}

func onlySecrets(t *testing.T) esv1.SecretsClient {
	t.Helper()
	return reader(t, map[string]int{secrets: 1})
}

func sdk() connect.Client {
	return connect.NewClient(os.Getenv("OP_CONNECT_HOST"), os.Getenv("OP_CONNECT_TOKEN"))
}

func vaultID(t *testing.T, name string) string {
	t.Helper()
	vault, err := sdk().GetVaultByTitle(name)
	must(t, err)
	return vault.ID
}

// title returns a unique title, so that tests and runs do not find each other's items.
func title(t *testing.T) string {
	t.Helper()
	var random [6]byte
	_, err := rand.Read(random[:])
	must(t, err)
	return t.Name() + " " + hex.EncodeToString(random[:])
}

// create makes an item of these fields (label, value, label, value, …) in apps and deletes it when the test ends.
func create(t *testing.T, title string, tags []string, fields ...string) *onepassword.Item {
	t.Helper()
	item := &onepassword.Item{Title: title, Category: onepassword.Server, Tags: tags}
	for i := 0; i < len(fields); i += 2 {
		item.Fields = append(item.Fields, &onepassword.ItemField{
			Type: onepassword.FieldTypeConcealed, Label: fields[i], Value: fields[i+1]})
	}
	created, err := sdk().CreateItem(item, apps)
	must(t, err)
	cleanUp(t, title)
	return created
}

// cleanUp deletes the items with the title when the test ends.
func cleanUp(t *testing.T, title string) {
	t.Cleanup(func() {
		items, err := sdk().GetItemsByTitle(title, apps)
		must(t, err)
		for _, item := range items {
			must(t, sdk().DeleteItem(&item, apps))
		}
	})
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

func fails(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("want an error with %q, got %v", text, err)
	}
}

func failsAs(t *testing.T, err, want error, text string) {
	t.Helper()
	if !errors.Is(err, want) {
		t.Fatalf("want %v, got %v", want, err)
	}
	fails(t, err, text)
}
