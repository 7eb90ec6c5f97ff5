package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/term"

	"traverse.internal/internal/cli"
)

// confirm asks at the terminal whether to go on. Where there is none somebody has to have said --yes.
func (a *app) confirm(yes bool, what string) error {
	if yes {
		return nil
	}
	f, ok := a.stdin.(*os.File)
	if !ok || !term.IsTerminal(int(f.Fd())) || !isTerminal(a.stderr) {
		return cli.Errorf("E_USAGE", "%s: there is no terminal to ask whether that is meant", what).Hint("say so: --yes")
	}
	fmt.Fprintf(a.stderr, "%s. Go on? [y/N] ", what)
	line, err := bufio.NewReader(io.LimitReader(f, 256)).ReadString('\n')
	if answer := strings.ToLower(strings.TrimSpace(line)); err == nil && (answer == "y" || answer == "yes") {
		return nil
	}
	return cli.Errorf("E_CANCELLED", "nothing was done")
}
