// SPDX-License-Identifier: Apache-2.0

package acr

import (
	"os"
	"testing"

	"github.com/regmint/regmint/providers/internal/httpx/httpxtest"
)

func TestMain(m *testing.M) { os.Exit(httpxtest.Waiting(m)) }
