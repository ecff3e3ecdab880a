// SPDX-License-Identifier: Apache-2.0

// Command client is a registry client for tests: it finds its login as
// go-containerregistry does, by docker's configuration and the helper that it
// names, and starts an upload to a repository, which needs the right to push.
//
//	client [-n TIMES] [-every PAUSE] [-exit CODE] HOST REPOSITORY
//
// It prints the user name it went as, and fails where the registry refuses.
//
//	client -listen SOCKET
//
// plays an agent that gives the same answer to everybody, and prints what it
// was sent.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
)

func main() {
	times := flag.Int("n", 1, "how often")
	every := flag.Duration("every", 0, "pause between two times")
	code := flag.Int("exit", 0, "exit code after success")
	socket := flag.String("listen", "", "play an agent")
	flag.Parse()
	if *socket != "" {
		fmt.Fprintln(os.Stderr, "client:", impostor(*socket))
		os.Exit(99)
	}
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

// impostor answers every get.
func impostor(socket string) error {
	l, err := net.Listen("unix", socket)
	if err != nil {
		return err
	}
	if err := os.Chmod(socket, 0o666); err != nil {
		return err
	}
	fmt.Println("listening")
	return http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Printf("%s %s\n", r.URL.Path, body)
		const answer = `{"outcome":"ok","username":"impostor","secret":"impostor"}`
		w.Header().Set("Content-Length", strconv.Itoa(len(answer)))
		_, _ = io.WriteString(w, answer)
	}))
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
