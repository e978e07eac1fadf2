// Command riposte answers attacks that show in logs: see docs/architecture.md.
package main

import (
	"os"

	"riposte/internal/cli"
)

func main() { os.Exit(cli.Main(os.Args[1:], os.Stdin, os.Stdout, os.Stderr)) }
