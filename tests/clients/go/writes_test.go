package clients

import (
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/1Password/connect-sdk-go/onepassword"
)

func TestCreatedItemIsReadBackAsWritten(t *testing.T) {
	item := login(t)
	item.Tags = []string{"b", "a"}
	item.Favorite = true
	item.URLs = []onepassword.ItemURL{{URL: "https://one.test", Label: "website"}, {URL: "https://two.test", Label: "admin", Primary: true}}
	item.Sections = []*onepassword.ItemSection{{ID: "Section_abc", Label: "Server"}}
	item.Fields = append(item.Fields,
		&onepassword.ItemField{ID: "9d8f2a5e-0b5c-4b3e-9f61-1f1f3a1b2c3d", Type: onepassword.FieldTypeString, Label: "host",
			Value: "db.test", Section: &onepassword.ItemSection{ID: "Section_abc"}},
		&onepassword.ItemField{ID: "notesPlain", Purpose: onepassword.FieldPurposeNotes, Label: "notesPlain", Value: "line 1\r\nline 2 🔑\x00end"},
		&onepassword.ItemField{Type: onepassword.FieldTypeURL, Label: "made id", Value: "https://three.test"},
	)
	created := create(t, item)
	// Terraform waits for exactly this number.
	equal(t, "version", created.Version, 1)
	if len(created.ID) != 26 {
		t.Errorf("id %q", created.ID)
	}
	got, err := client(t).GetItem(created.ID, apps)
	must(t, err)
	for _, seen := range []*onepassword.Item{created, got} {
		equal(t, "title", seen.Title, item.Title)
		equal(t, "category", seen.Category, onepassword.Login)
		equal(t, "favorite", seen.Favorite, true)
		equal(t, "version", seen.Version, 1)
		if !slices.Equal(seen.Tags, item.Tags) {
			t.Errorf("tags %v", seen.Tags)
		}
		if !slices.Equal(seen.URLs, item.URLs) {
			t.Errorf("urls %v", seen.URLs)
		}
		if len(seen.Sections) != 1 || *seen.Sections[0] != *item.Sections[0] {
			t.Errorf("sections %v", seen.Sections)
		}
		if len(seen.Fields) != len(item.Fields) {
			t.Fatalf("%d fields, want %d", len(seen.Fields), len(item.Fields))
		}
		for i, want := range item.Fields {
			f := seen.Fields[i]
			equal(t, "label", f.Label, want.Label)
			equal(t, "value of "+want.Label, f.Value, want.Value)
			equal(t, "purpose of "+want.Label, f.Purpose, want.Purpose)
			if want.ID == "" {
				if f.ID == "" {
					t.Errorf("%s was given no id", want.Label)
				}
			} else {
				equal(t, "id of "+want.Label, f.ID, want.ID)
			}
			if want.Type != "" {
				equal(t, "type of "+want.Label, f.Type, want.Type)
			}
			if want.Section == nil && f.Section != nil {
				t.Errorf("%s moved into a section", want.Label)
			}
		}
		equal(t, "Server.host", seen.GetValue("Server.host"), "db.test")
	}
}

func TestLabelsOfPurposesAreNeverEmpty(t *testing.T) {
	created := create(t, &onepassword.Item{Title: title(t), Category: onepassword.Login, Fields: []*onepassword.ItemField{
		{Purpose: onepassword.FieldPurposeUsername, Value: "u"},
		{Purpose: onepassword.FieldPurposePassword, Value: "p"},
		{Purpose: onepassword.FieldPurposeNotes, Value: "n"},
	}})
	equal(t, "username", created.GetValue("username"), "u")
	equal(t, "password", created.GetValue("password"), "p")
	equal(t, "notesPlain", created.GetValue("notesPlain"), "n")
}

func TestEveryCategoryThatCanBeCreated(t *testing.T) {
	for _, category := range []onepassword.ItemCategory{
		onepassword.Login, onepassword.Password, onepassword.ApiCredential, onepassword.Server, onepassword.Database,
		onepassword.CreditCard, onepassword.Membership, onepassword.Passport, onepassword.SoftwareLicense,
		onepassword.OutdoorLicense, onepassword.SecureNote, onepassword.WirelessRouter, onepassword.BankAccount,
		onepassword.DriverLicense, onepassword.Identity, onepassword.RewardProgram, onepassword.EmailAccount,
		onepassword.SocialSecurityNumber, onepassword.MedicalRecord, onepassword.SSHKey,
	} {
		created := create(t, &onepassword.Item{Title: title(t), Category: category, Fields: []*onepassword.ItemField{
			{Label: "f", Type: onepassword.FieldTypeConcealed, Value: "v"},
		}})
		equal(t, "category", created.Category, category)
		equal(t, string(category), created.GetValue("f"), "v")
	}
}

func TestRefusedItems(t *testing.T) {
	c, id := client(t), vaultID(t, apps)
	refuse := func(text string, change func(*onepassword.Item)) {
		t.Helper()
		item := login(t)
		item.Vault.ID = id
		change(item)
		_, err := c.CreateItem(item, id)
		refused(t, err, 400, text)
		hits, err := c.GetItemsByTitle(item.Title, id)
		must(t, err)
		equal(t, "items left behind", len(hits), 0)
	}
	refuse("", func(i *onepassword.Item) { i.Category = onepassword.Custom })
	refuse("", func(i *onepassword.Item) { i.Category = onepassword.Document })
	refuse("Invalid item category", func(i *onepassword.Item) { i.Category = "FOO" })
	refuse("", func(i *onepassword.Item) { i.Category = "" })
	refuse(`You can only use one "password" field.`, func(i *onepassword.Item) {
		i.Fields = append(i.Fields, &onepassword.ItemField{Purpose: onepassword.FieldPurposePassword, Value: "second"})
	})
	refuse("", func(i *onepassword.Item) { i.Vault.ID = vaultID(t, secrets) })
	refuse("", func(i *onepassword.Item) {
		i.Fields = append(i.Fields, &onepassword.ItemField{Generate: true, Recipe: &onepassword.GeneratorRecipe{Length: 65}})
	})
	refuse("", func(i *onepassword.Item) {
		i.Fields = append(i.Fields, &onepassword.ItemField{Generate: true, Recipe: &onepassword.GeneratorRecipe{CharacterSets: []string{"EMOJI"}}})
	})
	refuse("", func(i *onepassword.Item) {
		i.Fields = append(i.Fields, &onepassword.ItemField{Generate: true,
			Recipe: &onepassword.GeneratorRecipe{CharacterSets: []string{"DIGITS"}, ExcludeCharacters: "0123456789"}})
	})
}

func TestGeneratedPasswords(t *testing.T) {
	item := login(t)
	item.Fields = []*onepassword.ItemField{
		{Purpose: onepassword.FieldPurposePassword, Type: onepassword.FieldTypeConcealed, Generate: true,
			Recipe: &onepassword.GeneratorRecipe{Length: 64, CharacterSets: []string{"LETTERS", "DIGITS"}, ExcludeCharacters: "abc0"}},
		{Label: "default", Type: onepassword.FieldTypeConcealed, Generate: true},
		{Label: "digits", Type: onepassword.FieldTypeConcealed, Generate: true, Section: &onepassword.ItemSection{ID: "s", Label: "made"},
			Recipe: &onepassword.GeneratorRecipe{Length: 6, CharacterSets: []string{"DIGITS"}}},
		{Label: "kept", Type: onepassword.FieldTypeConcealed, Generate: true, Value: "mine"},
	}
	created := create(t, item)
	password := field(t, created, "password")
	equal(t, "length", len(password.Value), 64)
	for _, c := range password.Value {
		if !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9') || strings.ContainsRune("abc0", c) {
			t.Errorf("%q does not belong there", c)
		}
	}
	if password.Entropy <= 0 {
		t.Errorf("entropy %v", password.Entropy)
	}
	equal(t, "default length", len(field(t, created, "default").Value), 32)
	digits := field(t, created, "digits")
	if len(digits.Value) != 6 || strings.Trim(digits.Value, "0123456789") != "" {
		t.Errorf("digits %q", digits.Value)
	}
	equal(t, "section made on the way", created.SectionLabelForID("s"), "made")
	equal(t, "kept", field(t, created, "kept").Value, "mine")

	got, err := client(t).GetItem(created.ID, apps)
	must(t, err)
	equal(t, "stored", field(t, got, "password").Value, password.Value)
}

func TestUpdateRaisesTheVersionByOne(t *testing.T) {
	c := client(t)
	item := create(t, login(t))
	item.Title += " renamed"
	field(t, item, "password").Value = "second"
	item.Fields = append(item.Fields, &onepassword.ItemField{Type: onepassword.FieldTypeEmail, Label: "mail", Value: "ada@one.test"})
	answer, err := c.UpdateItem(item, item.Vault.ID)
	must(t, err)
	// Terraform polls for the response's version plus one.
	equal(t, "version in the answer", answer.Version, 1)
	equal(t, "title in the answer", answer.Title, item.Title)
	equal(t, "password in the answer", answer.GetValue("password"), "second")

	got, err := c.GetItem(item.ID, apps)
	must(t, err)
	equal(t, "version", got.Version, 2)
	equal(t, "title", got.Title, item.Title)
	equal(t, "password", got.GetValue("password"), "second")
	equal(t, "mail", got.GetValue("mail"), "ada@one.test")
	equal(t, "created", got.CreatedAt, item.CreatedAt)
	byTitle, err := c.GetItemByTitle(item.Title, apps)
	must(t, err)
	equal(t, "found by its new title", byTitle.ID, item.ID)

	// An item that is sent back unchanged gets a new version and loses nothing.
	_, err = c.UpdateItem(got, apps)
	must(t, err)
	same, err := c.GetItem(item.ID, apps)
	must(t, err)
	equal(t, "version", same.Version, 3)
	equal(t, "fields", len(same.Fields), len(got.Fields))
	for i, f := range got.Fields {
		equal(t, f.Label, *same.Fields[i], *f)
	}

	same.Fields = same.Fields[:1]
	_, err = c.UpdateItem(same, apps)
	must(t, err)
	less, err := c.GetItem(item.ID, apps)
	must(t, err)
	equal(t, "fields", len(less.Fields), 1)
}

func TestUpdateWithoutTypeKeepsAPasswordAPassword(t *testing.T) {
	c := client(t)
	item := create(t, login(t))
	field(t, item, "password").Type = ""
	field(t, item, "password").Purpose = ""
	_, err := c.UpdateItem(item, apps)
	must(t, err)
	got, err := c.GetItem(item.ID, apps)
	must(t, err)
	equal(t, "type", field(t, got, "password").Type, onepassword.FieldTypeConcealed)
	equal(t, "purpose", field(t, got, "password").Purpose, onepassword.FieldPurposePassword)
}

func TestUpdateAndDeleteOfWhatIsNotThere(t *testing.T) {
	c := client(t)
	item := create(t, login(t))
	must(t, c.DeleteItem(item, apps))
	_, err := c.GetItemByUUID(item.ID, apps)
	refused(t, err, 404, "item "+item.ID+" not found")
	_, err = c.UpdateItem(item, apps)
	refused(t, err, 404, "item "+item.ID+" not found")
	refused(t, c.DeleteItem(item, apps), 404, "item "+item.ID+" not found")
	refused(t, c.DeleteItemByID(item.ID, apps), 404, "item "+item.ID+" not found")
	fails(t, c.DeleteItemByTitle(item.Title, apps), "Found 0 item(s)")
	fails(t, c.DeleteItemByID("short", apps), "malformed item uuid")
}

func TestDeleteByIDAndByTitle(t *testing.T) {
	c := client(t)
	first, second := create(t, login(t)), create(t, login(t))
	must(t, c.DeleteItemByID(first.ID, apps))
	must(t, c.DeleteItemByTitle(second.Title, apps))
	for _, gone := range []*onepassword.Item{first, second} {
		hits, err := c.GetItemsByTitle(gone.Title, apps)
		must(t, err)
		equal(t, "hits", len(hits), 0)
	}
}

func TestParallelWritersDoNotConflict(t *testing.T) {
	c, id := client(t), vaultID(t, apps)
	var wait sync.WaitGroup
	for range 8 {
		item := login(t)
		item.Vault.ID = id
		wait.Add(1)
		go func() {
			defer wait.Done()
			created, err := c.CreateItem(item, id)
			if err != nil {
				t.Error(err)
				return
			}
			if _, err := c.UpdateItem(created, id); err != nil {
				t.Error(err)
			}
			// An acknowledged write is visible at once.
			if got, err := c.GetItemByUUID(created.ID, id); err != nil || got.Version != 2 || got.Title != item.Title {
				t.Errorf("%+v, %v", got, err)
			}
			if err := c.DeleteItem(created, id); err != nil {
				t.Error(err)
			}
		}()
	}
	wait.Wait()
}
