// SPDX-License-Identifier: Apache-2.0

// Package clients_test resolves through the built helper with the client
// libraries of today.
package clients_test

import (
	"context"
	"os"
	"strings"
	"testing"

	dockerconfig "github.com/docker/cli/cli/config"
	"github.com/docker/cli/cli/config/configfile"
	"github.com/docker/cli/cli/config/credentials"
	dockertypes "github.com/docker/cli/cli/config/types"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	"go.podman.io/image/v5/pkg/docker/config"
	"go.podman.io/image/v5/types"
	orascreds "oras.land/oras-go/v2/registry/remote/credentials"

	"github.com/regmint/regmint/test/clients/rig"
)

func TestMain(m *testing.M) { rig.Main(m, all, docker) }

func TestClients(t *testing.T) { rig.Suite(t, all, docker) }

// hubKey is what docker and everything built on its packages asks for Docker Hub.
const hubKey = "https://index.docker.io/v1/"

var all = []rig.Client{
	{Name: "docker-cli", Resolve: dockerResolve},
	{Name: "go-containerregistry", Resolve: ggcrResolve},
	{Name: "oras-go", Resolve: orasResolve},
	{Name: "containers-image as podman uses it", HostsOnly: true, Resolve: func(_ context.Context, image string) (rig.Login, error) {
		return imageResolve(os.Getenv("REGISTRY_AUTH_FILE"), image)
	}},
	{Name: "containers-image as werf uses it", HostsOnly: true, Resolve: func(_ context.Context, image string) (rig.Login, error) {
		return imageResolve("", image)
	}},
}

func hostOf(image string) string {
	host, _, _ := strings.Cut(image, "/")
	return host
}

func load() (*configfile.ConfigFile, error) { return dockerconfig.Load(os.Getenv("DOCKER_CONFIG")) }

func fromDocker(a dockertypes.AuthConfig) rig.Login {
	return rig.Login{User: a.Username, Secret: a.Password}
}

func dockerResolve(_ context.Context, image string) (rig.Login, error) {
	key := hostOf(image)
	if key == "docker.io" {
		key = hubKey
	}
	file, err := load()
	if err != nil {
		return rig.Login{}, err
	}
	auth, err := file.GetAuthConfig(key)
	return fromDocker(auth), err
}

func ggcrResolve(_ context.Context, image string) (rig.Login, error) {
	repo, err := name.NewRepository(image)
	if err != nil {
		return rig.Login{}, err
	}
	auth, err := authn.DefaultKeychain.Resolve(repo)
	if err != nil {
		return rig.Login{}, err
	}
	got, err := auth.Authorization()
	if err != nil {
		return rig.Login{}, err
	}
	return rig.Login{User: got.Username, Secret: got.Password}, nil
}

func orasResolve(ctx context.Context, image string) (rig.Login, error) {
	host := hostOf(image)
	if host == "docker.io" {
		host = "registry-1.docker.io" // where oras sends its requests
	}
	store, err := orascreds.NewStoreFromDocker(orascreds.StoreOptions{})
	if err != nil {
		return rig.Login{}, err
	}
	got, err := orascreds.Credential(store)(ctx, host)
	return rig.Login{User: got.Username, Secret: got.Password}, err
}

func imageResolve(authFile, image string) (rig.Login, error) {
	got, err := config.GetCredentials(&types.SystemContext{AuthFilePath: authFile}, image)
	return rig.Login{User: got.Username, Secret: got.Password}, err
}

var docker = rig.Docker{
	All: func() (map[string]rig.Login, error) {
		file, err := load()
		if err != nil {
			return nil, err
		}
		auths, err := file.GetAllCredentials()
		return fromAll(auths), err
	},
	Store: func(server string, l rig.Login) error {
		file, err := load()
		if err != nil {
			return err
		}
		return file.GetCredentialsStore(server).Store(dockertypes.AuthConfig{ServerAddress: server, Username: l.User, Password: l.Secret})
	},
	Erase: func(server string) error {
		file, err := load()
		if err != nil {
			return err
		}
		return file.GetCredentialsStore(server).Erase(server)
	},
	Names: func() (string, map[string]string, error) {
		file, err := load()
		if err != nil {
			return "", nil, err
		}
		return file.CredentialsStore, file.CredentialHelpers, nil
	},
	StoreAll: func(helper string) (map[string]rig.Login, error) {
		file, err := load()
		if err != nil {
			return nil, err
		}
		auths, err := credentials.NewNativeStore(file, helper).GetAll()
		return fromAll(auths), err
	},
	HelperGet: func(helper, server string) (rig.Login, error) {
		file, err := load()
		if err != nil {
			return rig.Login{}, err
		}
		auth, err := credentials.NewNativeStore(file, helper).Get(server)
		return fromDocker(auth), err
	},
}

func fromAll(auths map[string]dockertypes.AuthConfig) map[string]rig.Login {
	out := map[string]rig.Login{}
	for server, a := range auths {
		out[server] = fromDocker(a)
	}
	return out
}
