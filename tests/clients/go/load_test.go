package clients

import (
	"testing"

	"github.com/1Password/connect-sdk-go/onepassword"
)

type postgres struct {
	User     string `opfield:"username"`
	Password string `opfield:"password"`
	Database string `opfield:"database"`
	Whole    onepassword.Item
}

func (p postgres) check(t *testing.T) {
	t.Helper()
	equal(t, "username", p.User, "app")
	equal(t, "password", p.Password, "s3cr3t-pg")
	equal(t, "database", p.Database, "orders")
	equal(t, "whole item", p.Whole.Title, "postgres-database")
}

func TestLoadStructFromItem(t *testing.T) {
	c := client(t)
	item, err := c.GetItem("postgres-database", secrets)
	must(t, err)
	for _, load := range []func(*postgres) error{
		func(p *postgres) error { return c.LoadStructFromItem(p, "postgres-database", secrets) },
		func(p *postgres) error { return c.LoadStructFromItem(p, item.ID, item.Vault.ID) },
		func(p *postgres) error { return c.LoadStructFromItemByTitle(p, "postgres-database", item.Vault.ID) },
		func(p *postgres) error { return c.LoadStructFromItemByUUID(p, item.ID, secrets) },
	} {
		var p postgres
		must(t, load(&p))
		p.check(t)
	}
}

func TestLoadStructFromItemWithSectionsURLsAndNumbers(t *testing.T) {
	item := login(t)
	item.Sections = []*onepassword.ItemSection{{ID: "s1", Label: "Server"}}
	item.URLs = []onepassword.ItemURL{{URL: "https://one.test", Label: "website", Primary: true}}
	item.Fields = append(item.Fields, &onepassword.ItemField{Type: onepassword.FieldTypeString, Label: "port", Value: "5432",
		Section: &onepassword.ItemSection{ID: "s1"}})
	create(t, item)
	var config struct {
		Port    int                     `opsection:"server" opfield:"port"`
		Section onepassword.ItemSection `opsection:"server"`
		URL     onepassword.ItemURL     `opurl:"website"`
		// A field outside of all sections must not be taken for a field of a section.
		Missing string `opfield:"port"`
	}
	must(t, client(t).LoadStructFromItem(&config, item.Title, apps))
	equal(t, "port", config.Port, 5432)
	equal(t, "section", config.Section, *item.Sections[0])
	equal(t, "url", config.URL, item.URLs[0])
	equal(t, "missing", config.Missing, "")
}

func TestLoadStructByTags(t *testing.T) {
	t.Setenv("OP_VAULT", vaultID(t, secrets))
	var config struct {
		Password string           `opitem:"postgres-database" opfield:"password"`
		User     string           `opitem:"postgres-database" opfield:"username"`
		Key      string           `opitem:"api" opsection:"stripe" opfield:"key"`
		Document onepassword.Item `opitem:"blob.bin"`
		Untagged string
	}
	must(t, client(t).LoadStruct(&config))
	equal(t, "password", config.Password, "s3cr3t-pg")
	equal(t, "username", config.User, "app")
	equal(t, "key", config.Key, "sk_test_1")
	equal(t, "document", len(config.Document.Files), 1)
	equal(t, "untagged", config.Untagged, "")
}

func TestLoadStructFailures(t *testing.T) {
	c := client(t)
	var p postgres
	fails(t, c.LoadStructFromItem(&p, "", secrets), "provide either the item name or its ID")
	fails(t, c.LoadStructFromItem(&p, "no such item", secrets), "Found 0 item(s)")
	fails(t, c.LoadStructFromItem(&p, unknownID, secrets), "Found 0 item(s)")
	fails(t, c.LoadStructFromItem(&p, "postgres-database", "no such vault"), "Found 0 vaults")
	fails(t, c.LoadStructFromItem(p, "postgres-database", secrets), "pass a pointer")
	fails(t, c.LoadStructFromItemByUUID(&p, "short", secrets), "malformed item uuid")
	var number struct {
		User int `opfield:"username"`
	}
	fails(t, c.LoadStructFromItem(&number, "postgres-database", secrets), "invalid syntax")

	var tagged struct {
		Value string `opitem:"no such item" opfield:"password"`
	}
	fails(t, c.LoadStruct(&tagged), "There is no vault")
	t.Setenv("OP_VAULT", secrets)
	fails(t, c.LoadStruct(&tagged), "malformed vault uuid")
	t.Setenv("OP_VAULT", vaultID(t, secrets))
	fails(t, c.LoadStruct(&tagged), "Found 0 item(s)")
}
