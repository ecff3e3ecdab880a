// SPDX-License-Identifier: Apache-2.0

// Command client is a registry client for tests: it finds its login as
// go-containerregistry does, by docker's configuration and the helper that it
// names, and starts an upload to a repository, which needs the right to push.
//
//	client [-n TIMES] [-every PAUSE] [-exit CODE] HOST REPOSITORY
//
// It prints the user name it went as, and fails where the registry refuses.
package main

import (
	"context"
	"flag"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func main() {
	times := flag.Int("n", 1, "how often")
	every := flag.Duration("every", 0, "pause between two times")
	code := flag.Int("exit", 0, "exit code after success")
	flag.Parse()
	for i := range *times {
		if i > 0 {
			time.Sleep(*every)
		}
		user, err := push(context.Background(), flag.Arg(0), flag.Arg(1))
		if err != nil {
			fmt.Fprintln(os.Stderr, "client:", err)
			os.Exit(99)
		}
		fmt.Println(user)
	}
	os.Exit(*code)
}

// push starts one upload.
func push(ctx context.Context, host, repository string) (user string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	reg, err := name.NewRegistry(host, name.Insecure)
	if err != nil {
		return "", err
	}
	auth, err := authn.DefaultKeychain.Resolve(reg)
	if err != nil {
		return "", err
	}
	login, err := auth.Authorization()
	if err != nil {
		return "", err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://"+host+"/v2/"+repository+"/blobs/uploads/", nil)
	if err != nil {
		return "", err
	}
	if login.Username != "" {
		req.SetBasicAuth(login.Username, login.Password)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusAccepted {
		return "", fmt.Errorf("%s as %q: %s", repository, login.Username, resp.Status)
	}
	return login.Username, nil
}
