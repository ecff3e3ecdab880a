// SPDX-License-Identifier: Apache-2.0

// Command floor is the least a credential helper in Go can do: read stdin,
// dial a unix socket, exchange one line, print it.
package main

import (
	"bufio"
	"io"
	"net"
	"os"
)

func main() {
	in, err := io.ReadAll(os.Stdin)
	if err != nil {
		os.Exit(1)
	}
	c, err := net.Dial("unix", os.Args[1])
	if err != nil {
		os.Exit(1)
	}
	if _, err := c.Write(append(in, '\n')); err != nil {
		os.Exit(1)
	}
	line, err := bufio.NewReader(c).ReadString('\n')
	if err != nil {
		os.Exit(1)
	}
	_, _ = os.Stdout.WriteString(line)
}
