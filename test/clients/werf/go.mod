module github.com/regmint/regmint/test/clients/werf

go 1.26.0

replace github.com/regmint/regmint/test/clients/rig => ../rig

require (
	github.com/containers/image/v5 v5.30.0
	github.com/docker/cli v25.0.5+incompatible
	github.com/google/go-containerregistry v0.19.1
	github.com/regmint/regmint/test/clients/rig v0.0.0-00010101000000-000000000000
	oras.land/oras-go/v2 v2.5.0
)

require (
	github.com/BurntSushi/toml v1.3.2 // indirect
	github.com/containers/storage v1.53.0 // indirect
	github.com/docker/docker v25.0.3+incompatible // indirect
	github.com/docker/docker-credential-helpers v0.8.1 // indirect
	github.com/docker/go-units v0.5.0 // indirect
	github.com/hashicorp/errwrap v1.1.0 // indirect
	github.com/hashicorp/go-multierror v1.1.1 // indirect
	github.com/mitchellh/go-homedir v1.1.0 // indirect
	github.com/moby/sys/mountinfo v0.7.1 // indirect
	github.com/moby/sys/user v0.1.0 // indirect
	github.com/opencontainers/go-digest v1.0.0 // indirect
	github.com/opencontainers/image-spec v1.1.0 // indirect
	github.com/opencontainers/runtime-spec v1.2.0 // indirect
	github.com/pkg/errors v0.9.1 // indirect
	github.com/sirupsen/logrus v1.9.3 // indirect
	github.com/syndtr/gocapability v0.0.0-20200815063812-42c35b437635 // indirect
	golang.org/x/exp v0.0.0-20240222234643-814bf88cf225 // indirect
	golang.org/x/sync v0.6.0 // indirect
	golang.org/x/sys v0.18.0 // indirect
)
