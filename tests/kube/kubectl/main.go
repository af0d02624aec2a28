// Command kubectl is kubectl, built from its Go module: the version that go.mod names, or with -modfile=1.32.mod the older one.
package main

import (
	"os"

	"k8s.io/component-base/cli"
	"k8s.io/kubectl/pkg/cmd"
)

func main() {
	os.Exit(cli.Run(cmd.NewDefaultKubectlCommand()))
}
