package clients

import (
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base32"
	"encoding/binary"
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/1Password/connect-sdk-go/onepassword"
)

func TestGetItemByTitleAndByID(t *testing.T) {
	c := client(t)
	item, err := c.GetItem("postgres-database", secrets)
	must(t, err)
	equal(t, "title", item.Title, "postgres-database")
	equal(t, "category", item.Category, onepassword.Login)
	equal(t, "vault", item.Vault.ID, vaultID(t, secrets))
	equal(t, "username", item.GetValue("username"), "app")
	equal(t, "password", item.GetValue("password"), "s3cr3t-pg")
	equal(t, "database", item.GetValue("database"), "orders")
	if item.Version < 1 || item.CreatedAt.IsZero() || item.UpdatedAt.IsZero() || item.LastEditedBy == "" {
		t.Errorf("incomplete: %d %v %v %q", item.Version, item.CreatedAt, item.UpdatedAt, item.LastEditedBy)
	}

	for _, get := range []func() (*onepassword.Item, error){
		func() (*onepassword.Item, error) { return c.GetItem(item.ID, secrets) },
		func() (*onepassword.Item, error) { return c.GetItem(item.ID, item.Vault.ID) },
		func() (*onepassword.Item, error) { return c.GetItemByUUID(item.ID, item.Vault.ID) },
		func() (*onepassword.Item, error) { return c.GetItemByUUID(item.ID, secrets) },
		func() (*onepassword.Item, error) { return c.GetItemByTitle("postgres-database", secrets) },
		func() (*onepassword.Item, error) {
			return readonly().GetItemByTitle("postgres-database", item.Vault.ID)
		},
	} {
		again, err := get()
		must(t, err)
		equal(t, "id", again.ID, item.ID)
		equal(t, "fields", len(again.Fields), len(item.Fields))
	}
}

func TestGetItemWithASection(t *testing.T) {
	item, err := client(t).GetItem("api", secrets)
	must(t, err)
	equal(t, "category", item.Category, onepassword.SecureNote)
	equal(t, "stripe.key", item.GetValue("stripe.key"), "sk_test_1")
	section := field(t, item, "key").Section
	if section == nil {
		t.Fatal("field without its section")
	}
	equal(t, "section", item.SectionLabelForID(section.ID), "stripe")
}

func TestGetItemsListsSummaries(t *testing.T) {
	items, err := client(t).GetItems(secrets)
	must(t, err)
	id := vaultID(t, secrets)
	var titles []string
	for _, item := range items {
		titles = append(titles, item.Title)
		// Update and delete read the vault's id from the item.
		equal(t, "vault of "+item.Title, item.Vault.ID, id)
		equal(t, "fields of "+item.Title, len(item.Fields), 0)
		if item.Category == onepassword.Document && len(item.Files) == 0 {
			t.Errorf("%s is listed without its file", item.Title)
		}
	}
	for _, want := range []string{"postgres-database", "api", "blob.bin", "large.bin", "empty.bin"} {
		if !slices.Contains(titles, want) {
			t.Errorf("%q is not listed: %v", want, titles)
		}
	}
	again, err := client(t).GetItems(id)
	must(t, err)
	for i := range items {
		equal(t, "order", again[i].ID, items[i].ID)
	}
}

func TestGetItemsByTitleKeepsTwinsOldestFirst(t *testing.T) {
	c := client(t)
	item := login(t)
	first := create(t, item)
	second := create(t, item)
	hits, err := c.GetItemsByTitle(item.Title, apps)
	must(t, err)
	if len(hits) != 2 {
		t.Fatalf("%d hits", len(hits))
	}
	equal(t, "first", hits[0].ID, first.ID)
	equal(t, "second", hits[1].ID, second.ID)
	equal(t, "whole items", hits[1].GetValue("password"), "first")

	_, err = c.GetItemByTitle(item.Title, apps)
	fails(t, err, "Found 2 item(s)")
	fails(t, c.DeleteItemByTitle(item.Title, apps), "Found 2 item(s)")
}

func TestTitlesThatNoClientEscapes(t *testing.T) {
	c := client(t)
	for _, suffix := range []string{`say "hi"`, `"`, `back\slash`, `ends in \`, "a&b=c#d+e%20", "grüße 🔑", "it's"} {
		item := login(t)
		item.Title += " " + suffix
		created := create(t, item)
		got, err := c.GetItemByTitle(item.Title, apps)
		if err != nil {
			t.Errorf("%s: %v", suffix, err)
			continue
		}
		equal(t, suffix, got.ID, created.ID)
		equal(t, suffix, got.Title, item.Title)
	}
}

func TestTitleThatLooksLikeAnID(t *testing.T) {
	item := login(t)
	item.Title = "abcdefghijklmnopqrstuvwxyz"
	created := create(t, item)
	// The request by id gets 404, and the client then filters by title.
	got, err := client(t).GetItem(item.Title, apps)
	must(t, err)
	equal(t, "id", got.ID, created.ID)
	_, err = client(t).GetItemByUUID(item.Title, apps)
	refused(t, err, 404, "not found")
}

func TestNoSuchItem(t *testing.T) {
	c := client(t)
	_, err := c.GetItemByUUID(unknownID, apps)
	refused(t, err, 404, "item "+unknownID+" not found")
	_, err = c.GetItem(unknownID, apps)
	fails(t, err, "Found 0 item(s)")
	_, err = c.GetItemByTitle("no such item", apps)
	fails(t, err, "Found 0 item(s)")
	hits, err := c.GetItemsByTitle("no such item", apps)
	must(t, err)
	equal(t, "hits", len(hits), 0)
	_, err = c.GetItem("", apps)
	fails(t, err, "provide either the item name or its ID")
	_, err = c.GetItemByUUID("short", apps)
	fails(t, err, "malformed item uuid")
}

func TestItemOfAnotherVaultIsNotFound(t *testing.T) {
	c := client(t)
	item, err := c.GetItem("api", secrets)
	must(t, err)
	_, err = c.GetItemByUUID(item.ID, apps)
	refused(t, err, 404, "item "+item.ID+" not found")
}

func TestOneTimePasswordsCarryTheirCode(t *testing.T) {
	const seed = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
	item := login(t)
	item.Fields = append(item.Fields,
		&onepassword.ItemField{Type: onepassword.FieldTypeOTP, Label: "from uri", Value: "otpauth://totp/test?secret=" + seed},
		&onepassword.ItemField{Type: onepassword.FieldTypeOTP, Label: "from seed", Value: seed},
		&onepassword.ItemField{Type: onepassword.FieldTypeOTP, Label: "broken", Value: "otpauth://totp/test?secret=1"},
	)
	created := create(t, item)
	before := totp(t, seed, time.Now())
	got, err := client(t).GetItem(created.ID, apps)
	must(t, err)
	after := totp(t, seed, time.Now())
	for _, label := range []string{"from uri", "from seed"} {
		f := field(t, got, label)
		equal(t, "type", f.Type, onepassword.FieldTypeOTP)
		if f.TOTP != before && f.TOTP != after {
			t.Errorf("%s: code %q, want %q", label, f.TOTP, after)
		}
	}
	equal(t, "code of a broken seed", field(t, got, "broken").TOTP, "")
}

// totp computes a code of RFC 6238 with the defaults SHA-1, 6 digits and 30 seconds.
func totp(t *testing.T, seed string, now time.Time) string {
	t.Helper()
	key, err := base32.StdEncoding.DecodeString(seed)
	must(t, err)
	mac := hmac.New(sha1.New, key)
	must(t, binary.Write(mac, binary.BigEndian, uint64(now.Unix()/30)))
	sum := mac.Sum(nil)
	offset := sum[len(sum)-1] & 0xf
	return fmt.Sprintf("%06d", binary.BigEndian.Uint32(sum[offset:])&0x7fffffff%1_000_000)
}

func TestDates(t *testing.T) {
	item := login(t)
	item.Fields = append(item.Fields,
		&onepassword.ItemField{Type: onepassword.FieldTypeDate, Label: "seconds", Value: "1714737660"},
		&onepassword.ItemField{Type: onepassword.FieldTypeDate, Label: "day", Value: "2024-05-03"},
		&onepassword.ItemField{Type: onepassword.FieldTypeMonthYear, Label: "month", Value: "202405"},
	)
	got, err := client(t).GetItem(create(t, item).ID, apps)
	must(t, err)
	equal(t, "seconds", field(t, got, "seconds").Value, "1714737660")
	equal(t, "month", field(t, got, "month").Value, "202405")
	seconds, err := strconv.ParseInt(field(t, got, "day").Value, 10, 64)
	must(t, err)
	equal(t, "day", time.Unix(seconds, 0).UTC().Format(time.DateOnly), "2024-05-03")

	c, id := client(t), vaultID(t, apps)
	for kind, value := range map[onepassword.ItemFieldType]string{
		onepassword.FieldTypeDate:      "abc",
		onepassword.FieldTypeMonthYear: "202213",
	} {
		bad := login(t)
		bad.Fields = append(bad.Fields, &onepassword.ItemField{Type: kind, Label: "bad", Value: value})
		_, err := c.CreateItem(bad, id)
		refused(t, err, 400, "")
	}
}
