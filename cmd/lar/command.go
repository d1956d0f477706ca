package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"runtime"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"lar.home/hub"
	"lar.home/hub/config"
	"lar.home/hub/rights"
	"lar.home/ui"
)

// commandWithin bounds a command, and so how long it waits for a hub.
const commandWithin = time.Minute

// maxLine bounds what is read of a password.
const maxLine = 4096

// command carries out what the words say.
func command(f flags, words []string, stdin io.Reader, stdout io.Writer) error {
	ctx, cancel := context.WithTimeout(context.Background(), commandWithin)
	defer cancel()
	administer := func(fn func(hub.Admin) error) error {
		return hub.Administer(ctx, f.hub.Dir, f.hub.Log, fn)
	}
	verb, err := check(words)
	if err != nil {
		return err
	}
	if f.bench.given() {
		return errBenchFlags
	}
	switch verb {
	case "version":
		fmt.Fprintf(stdout, "lar %s %s %s/%s\n", f.hub.Version, runtime.Version(), runtime.GOOS, runtime.GOARCH)
		return nil
	case "devices dump":
		return dumpDevices(f.corpus, stdout)
	case "config":
		config.Example(stdout)
		return nil
	case "check":
		if err := hub.Check(f.hub); err != nil {
			return err
		}
		for _, w := range f.config.Warnings {
			fmt.Fprintf(stdout, "# %s\n", w)
		}
		f.config.Print(stdout)
		return nil
	case "passwd":
		password, err := readPassword(stdin, "lar passwd NAME")
		if err != nil {
			return err
		}
		line, err := rights.Line(words[1], password)
		if err == nil {
			fmt.Fprintln(stdout, line)
		}
		return err
	case "mqtt add":
		return administer(func(a hub.Admin) error {
			password, err := a.AddCredential(ctx, words[2])
			if err == nil {
				fmt.Fprintf(stdout, "User name  %s\nPassword   %s\n", strings.TrimSpace(words[2]), password)
				fmt.Fprintln(stdout, "The password is not kept: write it down now.")
			}
			return err
		})
	case "mqtt remove":
		return administer(func(a hub.Admin) error { return a.RemoveCredential(ctx, words[2]) })
	case "mqtt list":
		return administer(func(a hub.Admin) error {
			list, err := a.Credentials(ctx)
			if err == nil {
				printCredentials(stdout, list)
			}
			return err
		})
	case "user add":
		if f.role != string(ui.Owner) {
			return errors.New("lar user add makes owners: give --role owner")
		}
		password, err := readPassword(stdin, "lar user add NAME --role owner")
		if err != nil {
			return err
		}
		return administer(func(a hub.Admin) error {
			return a.AddPerson(ctx, f.home, words[2], password, ui.Owner)
		})
	}
	return nil
}

// check returns the command that the words begin with, once it has found that
// there are as many words as it takes.
func check(words []string) (verb string, err error) {
	takes := map[string]int{"version": 1, "config": 1, "check": 1, "passwd": 2, "bench": 1, "devices dump": 2, "mqtt list": 2, "mqtt add": 3, "mqtt remove": 3, "user add": 3}
	for verb, n := range takes {
		if first := strings.Fields(verb); len(words) < len(first) || !slices.Equal(words[:len(first)], first) {
			continue
		}
		if len(words) < n {
			return "", fmt.Errorf("lar %s wants a name: see lar --help", verb)
		}
		if len(words) > n {
			return "", fmt.Errorf("%q is one word too many for lar %s, a name with spaces stands in quotes: see lar --help", words[n], verb)
		}
		return verb, nil
	}
	return "", fmt.Errorf("there is no command lar %s: see lar --help", strings.Join(words, " "))
}

func printCredentials(w io.Writer, list []ui.Credential) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "USER NAME\tMADE\tLAST CONNECTED")
	for _, c := range list {
		seen := "not since the hub started"
		if !c.LastSeen.IsZero() {
			seen = c.LastSeen.Local().Format(time.DateTime)
		}
		fmt.Fprintf(t, "%s\t%s\t%s\n", c.Name, c.Created.Local().Format(time.DateTime), seen)
	}
	t.Flush()
}

// readPassword reads one line for a command.
func readPassword(stdin io.Reader, command string) (string, error) {
	line, err := bufio.NewReader(io.LimitReader(stdin, maxLine)).ReadString('\n')
	if err != nil && err != io.EOF {
		return "", fmt.Errorf("read the password: %w", err)
	}
	line = strings.TrimRight(line, "\r\n")
	if line == "" {
		return "", errors.New("give the password on standard input, as in: echo PASSWORD | " + command)
	}
	return line, nil
}
