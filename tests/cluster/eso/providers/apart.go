package register

import (
	"context"

	"sigs.k8s.io/controller-runtime/pkg/client"

	esv1 "github.com/external-secrets/external-secrets/apis/externalsecrets/v1"
	"github.com/external-secrets/external-secrets/pkg/provider/onepassword"
)

// apart is the provider with a client for each store. v0.16.2 keeps one for all: while two stores are used at once, one
// may ask with the other's token. Later releases do as this does, so that is what there is to compare with.
type apart struct {
	onepassword.ProviderOnePassword
}

func (*apart) NewClient(
	ctx context.Context, store esv1.GenericStore, kube client.Client, namespace string,
) (esv1.SecretsClient, error) {
	return new(onepassword.ProviderOnePassword).NewClient(ctx, store, kube, namespace)
}

// The provider's own package has named itself before.
func init() {
	provider := esv1.SecretStoreProvider{OnePassword: &esv1.OnePasswordProvider{}}
	esv1.ForceRegister(&apart{}, &provider, esv1.MaintenanceStatusMaintained)
}
