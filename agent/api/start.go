// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
)

// ConnectOptions says where the agent is and whether it may be started.
type ConnectOptions struct {
	Paths   Paths
	NoStart bool   // dial only
	Regmint string // absolute path of regmint; "" = beside this executable
}

// Connect dials the agent of Paths and starts it where none answers. The error
// wraps ErrNoAgent where no agent runs and none could be started.
func Connect(ctx context.Context, o ConnectOptions) (*Client, error) { return nil, ErrNoAgent }
