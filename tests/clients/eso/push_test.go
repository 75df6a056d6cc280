package clients

import (
	"os"
	"slices"
	"testing"

	"github.com/1Password/connect-sdk-go/onepassword"
	provider "github.com/external-secrets/external-secrets/pkg/provider/onepassword"
	corev1 "k8s.io/api/core/v1"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	kclient "sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"
)

func emptyCluster() kclient.Client { return fake.NewClientBuilder().Build() }

// push names the key of the Secret, and the item and field that it is pushed to.
type push struct {
	secretKey, remoteKey, property, metadata string
}

func (p push) GetSecretKey() string { return p.secretKey }
func (p push) GetRemoteKey() string { return p.remoteKey }
func (p push) GetProperty() string  { return p.property }
func (p push) GetMetadata() *apiextensionsv1.JSON {
	if p.metadata == "" {
		return nil
	}
	return &apiextensionsv1.JSON{Raw: []byte(p.metadata)}
}

func secret(value string) *corev1.Secret {
	return &corev1.Secret{Data: map[string][]byte{"key": []byte(value)}}
}

func item(t *testing.T, title string) *onepassword.Item {
	t.Helper()
	found, err := sdk().GetItemByTitle(title, apps)
	must(t, err)
	return found
}

func TestPushCreatesUpdatesAndDeletes(t *testing.T) {
	for name, vault := range map[string]string{"vault by name": apps, "vault by id": vaultID(t, apps)} {
		t.Run(name, func(t *testing.T) {
			p := reader(t, map[string]int{vault: 1})
			key := title(t)
			cleanUp(t, key)

			// The call creates the item, and returns when the item is found.
			must(t, p.PushSecret(ctx, secret("one"), push{secretKey: "key", remoteKey: key}))
			created := item(t, key)
			equal(t, "version", created.Version, 1)
			equal(t, "category", created.Category, onepassword.Server)
			// The server must add no field, because the provider deletes an item when its last field is deleted.
			equal(t, "fields", len(created.Fields), 1)
			equal(t, "password", created.GetValue("password"), "one")

			must(t, p.PushSecret(ctx, secret("two"), push{secretKey: "key", remoteKey: key}))
			updated := item(t, key)
			equal(t, "the same item", updated.ID, created.ID)
			equal(t, "password", updated.GetValue("password"), "two")

			must(t, p.PushSecret(ctx, secret("x"), push{secretKey: "key", remoteKey: key, property: "extra"}))
			got, err := p.GetSecretMap(ctx, ref(key, ""))
			must(t, err)
			same(t, got, map[string]string{"password": "two", "extra": "x"})

			must(t, p.DeleteSecret(ctx, push{remoteKey: key, property: "password"}))
			got, err = p.GetSecretMap(ctx, ref(key, ""))
			must(t, err)
			same(t, got, map[string]string{"extra": "x"})

			// When its last field is deleted, the item is deleted.
			must(t, p.DeleteSecret(ctx, push{remoteKey: key, property: "extra"}))
			_, err = p.GetSecret(ctx, ref(key, "extra"))
			failsAs(t, err, provider.ErrKeyNotFound, key)
			failsAs(t, p.DeleteSecret(ctx, push{remoteKey: key, property: "extra"}), provider.ErrKeyNotFound, key)
		})
	}
}

func TestPushWithTagsAndVault(t *testing.T) {
	p := reader(t, map[string]int{apps: 2, secrets: 1})
	key := title(t)
	cleanUp(t, key)
	with := func(spec string) string {
		return `{"apiVersion":"kubernetes.external-secrets.io/v1alpha1","kind":"PushSecretMetadata","spec":` + spec + `}`
	}
	must(t, p.PushSecret(ctx, secret("one"), push{"key", key, "f", with(`{"vault":"apps","tags":["b","a"]}`)}))
	if tags := item(t, key).Tags; !slices.Equal(tags, []string{"b", "a"}) {
		t.Errorf("tags %v", tags)
	}
	must(t, p.PushSecret(ctx, secret("two"), push{"key", key, "f", with(`{"tags":["c"]}`)}))
	if tags := item(t, key).Tags; !slices.Equal(tags, []string{"c"}) {
		t.Errorf("tags %v", tags)
	}
	err := p.PushSecret(ctx, secret("one"), push{"key", key + " other", "f", with(`{"vault":"elsewhere"}`)})
	fails(t, err, "metadata vault 'elsewhere' not in provider vaults")
}

func TestPushThatIsRefused(t *testing.T) {
	key := title(t)
	forbidden := "status 403: Authorization"
	readonly := open(t, os.Getenv("SIDEVAULT_READONLY_TOKEN"), map[string]int{apps: 1})
	fails(t, readonly.PushSecret(ctx, secret("one"), push{secretKey: "key", remoteKey: key}), forbidden)
	_, err := readonly.GetSecret(ctx, ref(key, ""))
	failsAs(t, err, provider.ErrKeyNotFound, key)

	// The vault is read-only.
	p := onlySecrets(t)
	fails(t, p.PushSecret(ctx, secret("one"), push{secretKey: "key", remoteKey: key}), forbidden)
	fails(t, p.PushSecret(ctx, secret("one"), push{secretKey: "key", remoteKey: "api", property: "key"}), forbidden)
	fails(t, p.DeleteSecret(ctx, push{remoteKey: "postgres-database", property: "username"}), forbidden)
	got, err := p.GetSecretMap(ctx, ref("postgres-database", ""))
	must(t, err)
	same(t, got, map[string]string{"username": "app", "password": "s3cr3t-pg", "database": "orders"})

	fails(t, p.PushSecret(ctx, secret("one"), push{secretKey: "other", remoteKey: key}), "key not found")

	twin := title(t)
	create(t, twin, nil, "password", "one")
	create(t, twin, nil, "password", "two")
	both := reader(t, map[string]int{apps: 1})
	failsAs(t, both.PushSecret(ctx, secret("three"), push{secretKey: "key", remoteKey: twin}), provider.ErrExpectedOneItem, "got 2")
	failsAs(t, both.DeleteSecret(ctx, push{remoteKey: twin, property: "password"}), provider.ErrExpectedOneItem, "got 2")
}

func TestSecretExistsIsNotImplemented(t *testing.T) {
	_, err := onlySecrets(t).SecretExists(ctx, push{remoteKey: "api"})
	fails(t, err, "not implemented")
}
