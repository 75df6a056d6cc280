package clients

import (
	"os"
	"strings"
	"testing"

	"github.com/1Password/connect-sdk-go/connect"
	"github.com/1Password/connect-sdk-go/onepassword"
)

// otherSignature changes one character in the middle of the signature, so that the token stays well-formed.
func otherSignature(t *testing.T) string {
	t.Helper()
	token := os.Getenv("OP_CONNECT_TOKEN")
	at := strings.LastIndexByte(token, '.') + 20
	if len(token) <= at+1 {
		t.Fatal("the token is no signed JWT")
	}
	other := "A"
	if token[at] == 'A' {
		other = "B"
	}
	return token[:at] + other + token[at+1:]
}

func TestTokensThatDoNotHold(t *testing.T) {
	id := vaultID(t, apps)
	for name, bad := range map[string]struct{ token, message string }{
		"none":            {"", "Invalid bearer token"},
		"not a JWT":       {"nonsense", "Invalid bearer token"},
		"cut":             {os.Getenv("OP_CONNECT_TOKEN")[:83], "Invalid bearer token"},
		"expired":         {os.Getenv("SIDEVAULT_EXPIRED_TOKEN"), "Invalid bearer token"},
		"other signature": {otherSignature(t), "Invalid token signature"},
	} {
		t.Run(name, func(t *testing.T) {
			c := clientWithToken(bad.token)
			item := &onepassword.Item{ID: unknownID, Vault: onepassword.ItemVault{ID: id}, Category: onepassword.Login}
			for call, err := range everyCall(c, id, item) {
				if err == nil || err.Error() != "status 401: "+bad.message {
					t.Errorf("%s: %v", call, err)
				}
			}
		})
	}
}

// everyCall makes each kind of request that the client has, with ids that the client does not look up first.
func everyCall(c connect.Client, vault string, item *onepassword.Item) map[string]error {
	out := map[string]error{}
	_, out["GetVaults"] = c.GetVaults()
	_, out["GetVaultByUUID"] = c.GetVaultByUUID(vault)
	_, out["GetVaultsByTitle"] = c.GetVaultsByTitle(apps)
	_, out["GetItems"] = c.GetItems(vault)
	_, out["GetItemByUUID"] = c.GetItemByUUID(item.ID, vault)
	_, out["GetItemsByTitle"] = c.GetItemsByTitle("x", vault)
	_, out["CreateItem"] = c.CreateItem(item, vault)
	_, out["UpdateItem"] = c.UpdateItem(item, vault)
	out["DeleteItem"] = c.DeleteItem(item, vault)
	out["DeleteItemByID"] = c.DeleteItemByID(item.ID, vault)
	_, out["GetFiles"] = c.GetFiles(item.ID, vault)
	_, out["GetFile"] = c.GetFile(unknownID, item.ID, vault)
	_, out["GetFileContent"] = c.GetFileContent(&onepassword.File{
		ContentPath: "/v1/vaults/" + vault + "/items/" + item.ID + "/files/" + unknownID + "/content"})
	return out
}

func TestForeignVaultIsForbiddenInEveryCall(t *testing.T) {
	item := create(t, login(t))
	for call, err := range everyCall(secretsOnly(), item.Vault.ID, item) {
		switch call {
		case "GetVaults", "GetVaultsByTitle":
			if err != nil {
				t.Errorf("%s: %v", call, err)
			}
		default:
			if err == nil || !strings.HasPrefix(err.Error(), "status 403: Authorization") {
				t.Errorf("%s: %v", call, err)
			}
		}
	}
	// A vault out of the token's scope is not found by its name.
	_, err := secretsOnly().GetVault(apps)
	fails(t, err, "Found 0 vaults")
	// The item is unchanged.
	got, err := client(t).GetItem(item.ID, apps)
	must(t, err)
	equal(t, "version", got.Version, 1)
}

func TestReadOnlyTokenAndReadOnlyVaultRefuseWrites(t *testing.T) {
	item := create(t, login(t))
	writes := func(t *testing.T, c connect.Client, item *onepassword.Item) {
		t.Helper()
		fresh := login(t)
		fresh.Vault.ID = item.Vault.ID
		_, err := c.CreateItem(fresh, item.Vault.ID)
		forbidden(t, err)
		changed := *item
		changed.Title = "changed"
		_, err = c.UpdateItem(&changed, item.Vault.ID)
		forbidden(t, err)
		forbidden(t, c.DeleteItem(item, item.Vault.ID))
		forbidden(t, c.DeleteItemByID(item.ID, item.Vault.ID))
		got, err := c.GetItemByUUID(item.ID, item.Vault.ID)
		must(t, err)
		equal(t, "title", got.Title, item.Title)
		equal(t, "version", got.Version, item.Version)
	}
	t.Run("read-only token", func(t *testing.T) { writes(t, readonly(), item) })
	t.Run("read-only vault", func(t *testing.T) {
		item, err := client(t).GetItem("api", secrets)
		must(t, err)
		writes(t, client(t), item)
		fails(t, client(t).DeleteItemByTitle("api", secrets), "status 403: Authorization")
	})
}

func TestClientNeedsItsEnvironment(t *testing.T) {
	for _, name := range []string{"OP_CONNECT_HOST", "OP_CONNECT_TOKEN"} {
		t.Run(name, func(t *testing.T) {
			t.Setenv(name, "")
			must(t, os.Unsetenv(name))
			_, err := connect.NewClientFromEnvironment()
			fails(t, err, name)
		})
	}
}
