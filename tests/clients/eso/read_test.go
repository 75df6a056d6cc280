package clients

import (
	"bytes"
	"context"
	"maps"
	"os"
	"slices"
	"testing"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	provider "github.com/external-secrets/external-secrets/pkg/provider/onepassword"
)

var ctx = context.Background()

func ref(key, property string) esv1.ExternalSecretDataRemoteRef {
	return esv1.ExternalSecretDataRemoteRef{Key: key, Property: property}
}

func documents() map[string][]byte {
	blob, large := make([]byte, 256), make([]byte, 300_000)
	for i := range blob {
		blob[i] = byte(i)
	}
	for i := range large {
		large[i] = byte(i * 7)
	}
	return map[string][]byte{"blob.bin": blob, "large.bin": large, "empty.bin": {}}
}

func TestGetSecretReadsAField(t *testing.T) {
	p := onlySecrets(t)
	for _, c := range []struct{ key, property, want string }{
		{"postgres-database", "username", "app"},
		{"postgres-database", "field/database", "orders"},
		// The default is the field with the label password.
		{"postgres-database", "", "s3cr3t-pg"},
		{"api", "key", "sk_test_1"},
	} {
		got, err := p.GetSecret(ctx, ref(c.key, c.property))
		must(t, err)
		equal(t, c.key+"/"+c.property, string(got), c.want)
	}
}

func TestGetSecretReadsADocument(t *testing.T) {
	p := onlySecrets(t)
	for name, want := range documents() {
		for _, property := range []string{"", name, "file/" + name} {
			got, err := p.GetSecret(ctx, ref(name, property))
			must(t, err)
			if !bytes.Equal(got, want) {
				t.Errorf("%s by %q: %d bytes that differ", name, property, len(got))
			}
		}
	}
	_, err := p.GetSecret(ctx, ref("blob.bin", "other.bin"))
	fails(t, err, "error finding 1Password Document")
}

func TestGetSecretFailures(t *testing.T) {
	p := reader(t, map[string]int{apps: 1, secrets: 2})
	_, err := p.GetSecret(ctx, ref("no such item", ""))
	failsAs(t, err, provider.ErrKeyNotFound, "no such item")
	_, err = p.GetSecret(ctx, ref("postgres-database", "no such field"))
	failsAs(t, err, provider.ErrExpectedOneField, "got 0")
	// The item has no field with the label password.
	_, err = p.GetSecret(ctx, ref("api", ""))
	failsAs(t, err, provider.ErrExpectedOneField, "'password' in 'api', got 0")
	_, err = p.GetSecret(ctx, esv1.ExternalSecretDataRemoteRef{Key: "api", Property: "key", Version: "1"})
	fails(t, err, "'remoteRef.version' is not implemented")
	_, err = p.GetSecretMap(ctx, esv1.ExternalSecretDataRemoteRef{Key: "api", Version: "1"})
	fails(t, err, "'remoteRef.version' is not implemented")

	twice := create(t, title(t), nil, "key", "one", "key", "two")
	_, err = p.GetSecret(ctx, ref(twice.Title, "key"))
	failsAs(t, err, provider.ErrExpectedOneField, "got 2")
	_, err = p.GetSecretMap(ctx, ref(twice.Title, ""))
	failsAs(t, err, provider.ErrExpectedOneField, "got 2")

	twin := title(t)
	create(t, twin, nil, "password", "one")
	create(t, twin, nil, "password", "two")
	_, err = p.GetSecret(ctx, ref(twin, ""))
	failsAs(t, err, provider.ErrExpectedOneItem, "got 2")
	_, err = p.GetSecretMap(ctx, ref(twin, ""))
	failsAs(t, err, provider.ErrExpectedOneItem, "got 2")
}

func TestVaultsAreSearchedInTheirOrder(t *testing.T) {
	create(t, "api", nil, "key", "from apps")
	for _, c := range []struct {
		vaults map[string]int
		want   string
	}{
		{map[string]int{apps: 1, secrets: 2}, "from apps"},
		{map[string]int{apps: 2, secrets: 1}, "sk_test_1"},
		// By id, and with a label in another case.
		{map[string]int{vaultID(t, secrets): 1, apps: 2}, "sk_test_1"},
		{map[string]int{"Apps": 1, "SECRETS": 2}, "from apps"},
	} {
		got, err := reader(t, c.vaults).GetSecret(ctx, ref("api", "key"))
		must(t, err)
		equal(t, "api", string(got), c.want)
	}
	// If a vault has no such item, the search goes on in the next one.
	got, err := reader(t, map[string]int{apps: 1, secrets: 2}).GetSecret(ctx, ref("postgres-database", ""))
	must(t, err)
	equal(t, "postgres-database", string(got), "s3cr3t-pg")
}

func TestGetSecretMap(t *testing.T) {
	p := onlySecrets(t)
	got, err := p.GetSecretMap(ctx, ref("postgres-database", ""))
	must(t, err)
	same(t, got, map[string]string{"username": "app", "password": "s3cr3t-pg", "database": "orders"})
	got, err = p.GetSecretMap(ctx, ref("postgres-database", "username"))
	must(t, err)
	same(t, got, map[string]string{"username": "app"})
	got, err = p.GetSecretMap(ctx, ref("large.bin", ""))
	must(t, err)
	same(t, got, map[string]string{"large.bin": string(documents()["large.bin"])})
	_, err = p.GetSecretMap(ctx, ref("no such item", ""))
	failsAs(t, err, provider.ErrKeyNotFound, "no such item")
}

func same(t *testing.T, got map[string][]byte, want map[string]string) {
	t.Helper()
	if keys, wanted := slices.Sorted(maps.Keys(got)), slices.Sorted(maps.Keys(want)); !slices.Equal(keys, wanted) {
		t.Fatalf("got %v, want %v", keys, wanted)
	}
	for key, value := range want {
		if string(got[key]) != value {
			t.Errorf("%s differs", key)
		}
	}
}

func TestFindByNameAndPath(t *testing.T) {
	p := onlySecrets(t)
	find := func(find esv1.ExternalSecretFind) map[string][]byte {
		t.Helper()
		got, err := p.GetAllSecrets(ctx, find)
		must(t, err)
		return got
	}
	named := func(regexp string) *esv1.FindName { return &esv1.FindName{RegExp: regexp} }
	path := func(title string) *string { return &title }
	docs := documents()

	same(t, find(esv1.ExternalSecretFind{Name: named("^(user|pass)")}), map[string]string{"username": "app", "password": "s3cr3t-pg"})
	// The provider finds files in the item's list of files.
	same(t, find(esv1.ExternalSecretFind{Name: named(`\.bin$`)}), map[string]string{
		"blob.bin": string(docs["blob.bin"]), "large.bin": string(docs["large.bin"]), "empty.bin": ""})
	same(t, find(esv1.ExternalSecretFind{Path: path("postgres-database")}),
		map[string]string{"username": "app", "password": "s3cr3t-pg", "database": "orders"})
	same(t, find(esv1.ExternalSecretFind{Path: path("blob.bin"), Name: named("blob")}), map[string]string{"blob.bin": string(docs["blob.bin"])})
	same(t, find(esv1.ExternalSecretFind{Path: path("api"), Name: named("nothing")}), map[string]string{})
	same(t, find(esv1.ExternalSecretFind{Path: path("no such item")}), map[string]string{})

	_, err := p.GetAllSecrets(ctx, esv1.ExternalSecretFind{Name: named("(")})
	fails(t, err, "could not compile")
}

func TestFindByTags(t *testing.T) {
	tag := title(t)
	create(t, title(t), []string{tag, "more"}, "first", "1")
	create(t, title(t), []string{tag}, "second", "2")
	create(t, title(t), []string{"more"}, "third", "3")
	p := reader(t, map[string]int{apps: 1})
	got, err := p.GetAllSecrets(ctx, esv1.ExternalSecretFind{Tags: map[string]string{tag: ""}})
	must(t, err)
	same(t, got, map[string]string{"first": "1", "second": "2"})
	got, err = p.GetAllSecrets(ctx, esv1.ExternalSecretFind{Tags: map[string]string{tag: "", "more": ""}})
	must(t, err)
	same(t, got, map[string]string{"first": "1"})
}

func TestValidate(t *testing.T) {
	ready := func(p esv1.SecretsClient) {
		t.Helper()
		result, err := p.Validate()
		must(t, err)
		equal(t, "result", result, esv1.ValidationResultReady)
	}
	broken := func(p esv1.SecretsClient, text string) {
		t.Helper()
		result, err := p.Validate()
		equal(t, "result", result, esv1.ValidationResultError)
		fails(t, err, text)
	}
	ready(reader(t, map[string]int{apps: 1, secrets: 2}))
	ready(reader(t, map[string]int{vaultID(t, secrets): 1}))
	ready(open(t, os.Getenv("SIDEVAULT_SECRETS_ONLY_TOKEN"), map[string]int{secrets: 1}))
	broken(reader(t, map[string]int{"no such vault": 1}), `Found 0 vaults with title "no such vault"`)

	foreign := os.Getenv("SIDEVAULT_SECRETS_ONLY_TOKEN")
	broken(open(t, foreign, map[string]int{apps: 1}), "Found 0 vaults")
	// The provider retries if the message begins like this.
	broken(open(t, foreign, map[string]int{vaultID(t, apps): 1}), "status 403: Authorization")
	broken(open(t, "nonsense", map[string]int{apps: 1}), "status 401: Invalid bearer token")
	broken(open(t, os.Getenv("SIDEVAULT_EXPIRED_TOKEN"), map[string]int{apps: 1}), "status 401: Invalid bearer token")
}

func TestForeignVaultAndTokenThatDoesNotHold(t *testing.T) {
	for name, c := range map[string]struct{ token, vault, text string }{
		"foreign by name": {os.Getenv("SIDEVAULT_SECRETS_ONLY_TOKEN"), apps, "Found 0 vaults"},
		"foreign by id":   {os.Getenv("SIDEVAULT_SECRETS_ONLY_TOKEN"), vaultID(t, apps), "status 403: Authorization"},
		"expired":         {os.Getenv("SIDEVAULT_EXPIRED_TOKEN"), secrets, "status 401: Invalid bearer token"},
	} {
		t.Run(name, func(t *testing.T) {
			p := open(t, c.token, map[string]int{c.vault: 1})
			_, err := p.GetSecret(ctx, ref("api", "key"))
			fails(t, err, "error finding 1Password Vault: "+c.text)
			_, err = p.GetSecretMap(ctx, ref("api", ""))
			fails(t, err, "error finding 1Password Vault: "+c.text)
			_, err = p.GetAllSecrets(ctx, esv1.ExternalSecretFind{Name: &esv1.FindName{RegExp: "."}})
			fails(t, err, "error finding 1Password Vault: "+c.text)
		})
	}
}

func TestTokenSecretThatIsNotThere(t *testing.T) {
	s := store(map[string]int{secrets: 1})
	s.Spec.Provider.OnePassword.Auth.SecretRef.ConnectToken.Name = "other"
	_, err := (&provider.ProviderOnePassword{}).NewClient(ctx, s, emptyCluster(), namespace)
	fails(t, err, "not found")
}
