// SPDX-License-Identifier: Apache-2.0

package ecr

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/regmint/regmint/providers"
	"github.com/regmint/regmint/providers/internal/httpx"
)

// processPlan runs a program for credentials
// (docs.aws.amazon.com/sdkref/latest/guide/feature-process-credentials.html).
func processPlan(argv []string, who string) *plan {
	if who == "" {
		who = "program " + httpx.Printable(filepath.Base(argv[0]), 60)
	}
	return &plan{who: who, first: func(ctx context.Context, c *call, _ string) (session, error) {
		out, err := c.deps.Run(ctx, providers.Command{Path: argv[0], Args: argv[1:]})
		if err != nil {
			if e, ok := errors.AsType[*providers.Error](err); ok {
				own := *e
				own.Host = c.host
				own.Err = fmt.Errorf("credential_process: %w", e.Err)
				return session{}, &own
			}
			return session{}, c.fail(providers.Unavailable, "", errors.New("credential_process: the program failed"))
		}
		creds, err := readProcess(out)
		if err != nil {
			return session{}, c.fail(providers.Misconfigured, "", fmt.Errorf("credential_process of %s: %w", who, err))
		}
		return session{who: who, renew: "the program of credential_process gave them"}.with(creds), nil
	}}
}

// notOurselves refuses a program that is regmint: it would ask the agent, which
// would run the program. A profile that the caller's AWS_PROFILE names may have
// it (`regmint get --native`, for clean-ups): the agent runs the program without
// that variable, so the circle is never closed by it.
func (c *call) notOurselves(argv []string, who string) error {
	name := strings.TrimSuffix(strings.ToLower(filepath.Base(argv[0])), ".exe")
	if name != "regmint" || c.deps.Env[envProfile] != "" || c.deps.Env[envDefaultProfile] != "" {
		return nil
	}
	return c.fail(providers.Misconfigured, "set profile in an [[account]] to the one that the credentials come from",
		fmt.Errorf("%s asks regmint, which would ask it again", who))
}

// readProcess reads what the program printed. Errors repeat nothing of it.
func readProcess(out []byte) (aws.Credentials, error) {
	var v struct {
		Version         int
		AccessKeyID     string `json:"AccessKeyId"`
		SecretAccessKey string
		SessionToken    string
		Expiration      *time.Time
		AccountID       string `json:"AccountId"`
	}
	switch err := json.Unmarshal(out, &v); {
	case err != nil:
		return aws.Credentials{}, errors.New("it printed no credentials in JSON")
	case v.Version != 1:
		return aws.Credentials{}, errors.New("it printed another Version than 1")
	case v.AccessKeyID == "" || v.SecretAccessKey == "":
		return aws.Credentials{}, errors.New("it printed no AccessKeyId or no SecretAccessKey")
	}
	c := aws.Credentials{AccessKeyID: v.AccessKeyID, SecretAccessKey: v.SecretAccessKey, SessionToken: v.SessionToken, AccountID: v.AccountID}
	if v.Expiration != nil {
		c.CanExpire, c.Expires = true, *v.Expiration
	}
	return c, nil
}

// splitCommand splits a command line of ~/.aws/config into arguments: quotes
// and backslashes are understood, nothing else a shell would do is done.
func splitCommand(s string) ([]string, error) {
	var out []string
	var b strings.Builder
	quote, word := rune(0), false
	rs := []rune(s)
	for i := 0; i < len(rs); i++ {
		r := rs[i]
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case r == '\\' && quote == '"' && i+1 < len(rs) && (rs[i+1] == '"' || rs[i+1] == '\\'),
			r == '\\' && quote == 0 && i+1 < len(rs) && filepath.Separator != '\\':
			i++
			b.WriteRune(rs[i])
			word = true
		case quote != 0:
			b.WriteRune(r)
		case r == '"' || r == '\'':
			quote, word = r, true
		case r == ' ' || r == '\t':
			if word {
				out = append(out, b.String())
			}
			b.Reset()
			word = false
		default:
			b.WriteRune(r)
			word = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quote is not closed")
	}
	if word {
		out = append(out, b.String())
	}
	if len(out) == 0 || out[0] == "" {
		return nil, errors.New("it is empty")
	}
	return out, nil
}
