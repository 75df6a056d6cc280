// Package register names the generators that are compiled in, as the providers' one does.
package register

import _ "github.com/external-secrets/external-secrets/pkg/generator/fake"
