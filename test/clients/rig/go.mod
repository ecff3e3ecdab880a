module github.com/regmint/regmint/test/clients/rig

go 1.26.0
