package clients

import (
	"os"
	"slices"
	"testing"

	"github.com/1Password/connect-sdk-go/connect"
	"github.com/1Password/connect-sdk-go/onepassword"
)

func names(vaults []onepassword.Vault) []string {
	var out []string
	for _, v := range vaults {
		out = append(out, v.Name)
	}
	slices.Sort(out)
	return out
}

func TestGetVaultsListsWhatTheTokenMayRead(t *testing.T) {
	all, err := client(t).GetVaults()
	must(t, err)
	if got := names(all); !slices.Equal(got, []string{apps, secrets}) {
		t.Errorf("got %v", got)
	}
	one, err := secretsOnly().GetVaults()
	must(t, err)
	if got := names(one); !slices.Equal(got, []string{secrets}) {
		t.Errorf("got %v", got)
	}
}

func TestGetVaultByNameAndByID(t *testing.T) {
	c := client(t)
	byName, err := c.GetVault(secrets)
	must(t, err)
	equal(t, "name", byName.Name, secrets)
	if len(byName.ID) != 26 {
		t.Errorf("id %q", byName.ID)
	}
	byID, err := c.GetVault(byName.ID)
	must(t, err)
	equal(t, "the same vault", *byID, *byName)
	direct, err := c.GetVaultByUUID(byName.ID)
	must(t, err)
	equal(t, "the same vault", *direct, *byName)

	// The client turns other types into UNKNOWN.
	if byName.Type == onepassword.UnknownVault || byName.Type == "" {
		t.Errorf("type %q", byName.Type)
	}
	if byName.CreatedAt.IsZero() || byName.UpdatedAt.IsZero() {
		t.Error("times missing")
	}
	if byName.Items < 5 {
		t.Errorf("%d items counted", byName.Items)
	}
}

func TestVaultNamesMatchWithoutRegardToCase(t *testing.T) {
	vault, err := client(t).GetVaultByTitle("SECRETS")
	must(t, err)
	equal(t, "name", vault.Name, secrets)
	hits, err := client(t).GetVaultsByTitle("Apps")
	must(t, err)
	equal(t, "hits", len(hits), 1)
}

func TestVaultCountsFollowItsItems(t *testing.T) {
	c := client(t)
	id := vaultID(t, apps)
	before, err := c.GetVaultByUUID(id)
	must(t, err)
	item := create(t, login(t))
	after, err := c.GetVaultByUUID(id)
	must(t, err)
	equal(t, "items", after.Items, before.Items+1)
	if after.ContentVersion <= before.ContentVersion {
		t.Errorf("content version went from %d to %d", before.ContentVersion, after.ContentVersion)
	}
	must(t, c.DeleteItem(item, id))
	last, err := c.GetVaultByUUID(id)
	must(t, err)
	equal(t, "items", last.Items, before.Items)
	if last.ContentVersion <= after.ContentVersion {
		t.Errorf("content version went from %d to %d", after.ContentVersion, last.ContentVersion)
	}
}

func TestNoSuchVault(t *testing.T) {
	c := client(t)
	hits, err := c.GetVaultsByTitle("no such vault")
	must(t, err)
	equal(t, "hits", len(hits), 0)
	_, err = c.GetVaultByTitle("no such vault")
	fails(t, err, `Found 0 vaults with title "no such vault"`)
	_, err = c.GetVault("no such vault")
	fails(t, err, "Found 0 vaults")
	_, err = c.GetItems("no such vault")
	fails(t, err, "Found 0 vaults")
	_, err = c.GetVault("")
	fails(t, err, "provide either the vault name or its ID")
	_, err = c.GetVaultByUUID("short")
	fails(t, err, "malformed vault uuid")
	// The response must not show whether a vault out of the token's scope exists.
	_, err = c.GetVaultByUUID(unknownID)
	forbidden(t, err)
}

func TestVaultNamesWithSpecialCharactersAreAsked(t *testing.T) {
	// The client percent-encodes the filter, but does not escape quotes in it.
	for _, name := range []string{`say "hi"`, `back\slash`, "a&b=c#d+e%20", "grüße 🔑", `it's`} {
		hits, err := client(t).GetVaultsByTitle(name)
		must(t, err)
		equal(t, name, len(hits), 0)
	}
}

func TestHostWithATrailingSlashAndAnOwnUserAgent(t *testing.T) {
	// The client then requests //v1/vaults.
	c := connect.NewClientWithUserAgent(os.Getenv("OP_CONNECT_HOST")+"/", os.Getenv("OP_CONNECT_TOKEN"), "suite/1.0")
	vaults, err := c.GetVaults()
	must(t, err)
	equal(t, "vaults", len(vaults), 2)
}
