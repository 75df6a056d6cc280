// Package clients runs the published Go client for Connect against a running server and asserts the results that its user gets.
//
// The caller sets up the server, its two vaults and the tokens; see run.sh here and README.md one folder up.
package clients

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/1Password/connect-sdk-go/connect"
	"github.com/1Password/connect-sdk-go/onepassword"
)

const (
	// Writable, empty at the start.
	apps = "apps"
	// Read-only: filled from a directory.
	secrets = "secrets"

	// Well-formed ids of no vault and no item.
	unknownID = "zzzzzzzzzzzzzzzzzzzzzzzzzz"
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
	// A vault in the environment would change the behaviour of LoadStruct.
	os.Unsetenv("OP_VAULT")
	os.Exit(m.Run())
}

// client has the main token: read and write on apps, read on secrets.
func client(t *testing.T) connect.Client {
	t.Helper()
	c, err := connect.NewClientFromEnvironment()
	must(t, err)
	return c
}

func clientWithToken(token string) connect.Client {
	return connect.NewClient(os.Getenv("OP_CONNECT_HOST"), token)
}

func readonly() connect.Client    { return clientWithToken(os.Getenv("SIDEVAULT_READONLY_TOKEN")) }
func secretsOnly() connect.Client { return clientWithToken(os.Getenv("SIDEVAULT_SECRETS_ONLY_TOKEN")) }

func vaultID(t *testing.T, name string) string {
	t.Helper()
	vault, err := client(t).GetVaultByTitle(name)
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

// create makes the item in apps and deletes it when the test ends.
func create(t *testing.T, item *onepassword.Item) *onepassword.Item {
	t.Helper()
	c := client(t)
	id := vaultID(t, apps)
	item.Vault.ID = id
	created, err := c.CreateItem(item, id)
	must(t, err)
	t.Cleanup(func() {
		err := c.DeleteItemByID(created.ID, id)
		var answer *onepassword.Error
		if err != nil && !(errors.As(err, &answer) && answer.StatusCode == 404) {
			t.Errorf("clean up of %s: %v", created.ID, err)
		}
	})
	return created
}

func login(t *testing.T) *onepassword.Item {
	t.Helper()
	return &onepassword.Item{
		Title:    title(t),
		Category: onepassword.Login,
		Fields: []*onepassword.ItemField{
			{ID: "username", Type: onepassword.FieldTypeString, Purpose: onepassword.FieldPurposeUsername, Label: "username", Value: "ada"},
			{ID: "password", Type: onepassword.FieldTypeConcealed, Purpose: onepassword.FieldPurposePassword, Label: "password", Value: "first"},
		},
	}
}

func field(t *testing.T, item *onepassword.Item, label string) *onepassword.ItemField {
	t.Helper()
	for _, f := range item.Fields {
		if f.Label == label {
			return f
		}
	}
	t.Fatalf("item %q has no field %q", item.Title, label)
	return nil
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

// refused asserts that the server answered with this status and a message that contains the text.
func refused(t *testing.T, err error, status int, text string) {
	t.Helper()
	var answer *onepassword.Error
	if !errors.As(err, &answer) {
		t.Fatalf("want status %d with %q, got %v", status, text, err)
	}
	equal(t, "status", answer.StatusCode, status)
	if !strings.Contains(answer.Message, text) {
		t.Errorf("message %q does not hold %q", answer.Message, text)
	}
}

// forbidden asserts a 403 whose message begins with Authorization, because other clients look for this word.
func forbidden(t *testing.T, err error) {
	t.Helper()
	if err == nil || !strings.HasPrefix(err.Error(), "status 403: Authorization") {
		t.Fatalf("want `status 403: Authorization…`, got %v", err)
	}
}

// fails asserts an error of the client itself.
func fails(t *testing.T, err error, text string) {
	t.Helper()
	if err == nil || !strings.Contains(err.Error(), text) {
		t.Fatalf("want an error with %q, got %v", text, err)
	}
}
