// Package register names the providers that are compiled in. It stands in for the file of that name in a controller's
// own source, which names three dozen clouds that no test of ours asks.
package register

import (
	_ "github.com/external-secrets/external-secrets/pkg/provider/fake"
	_ "github.com/external-secrets/external-secrets/pkg/provider/onepassword"
	_ "github.com/external-secrets/external-secrets/pkg/provider/webhook"
)
