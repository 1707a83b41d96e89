// Command etcdclient uses etcd through Go's own client (the version that TiDB takes) and tells what came back, so that a tenant's etcd can be
// held against etcd itself.
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"time"
)

const usage = `Usage:
  etcdclient scenarios [connection] [NAME...]
      Runs the named scenarios, or all, and prints one line of JSON for each step: scenario, step, result, error. Revisions are their ranks
      among those of the scenario, lease ids that etcd chose are numbered, and what differs between two clusters is left out.
  etcdclient follow [connection] --key KEY --revision N
      Watches a prefix from a revision on and prints one line of JSON for each event, and for the end of the watch, until stdin ends.
  etcdclient do [connection] put KEY VALUE [LEASE] | get PREFIX | grant ID SECONDS | leases | compact REVISION | state
      Does one thing and prints what came back, one line of JSON for each key or lease.
  etcdclient attack [connection] --names KEY,... --leases ID,... [--since REVISION] [--reads]
      Tries to leave the namespace by every call there is, and prints one line of JSON for each answer: its bytes, or the error.
  etcdclient load [connection] --kind put|get|txn|watch [--workers N] [--watchers N] [--seconds S]
      Keeps one connection busy and prints one line of JSON: operations per second (of watch: events that watches were told of, by puts of
      the workers), and how long an operation took in microseconds.

Connection:
  --endpoint HOST:PORT  [--cert FILE --key-file FILE --ca FILE]
  --namespace PREFIX    every key is put behind the prefix by the client itself
`

func main() {
	if len(os.Args) < 2 {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	commands := map[string]func([]string) error{
		"scenarios": scenariosCommand,
		"follow":    followCommand,
		"do":        doCommand,
		"load":      loadCommand,
		"attack":    attackCommand,
	}
	command, found := commands[os.Args[1]]
	if !found {
		fmt.Fprint(os.Stderr, usage)
		os.Exit(2)
	}
	if err := command(os.Args[2:]); err != nil {
		fmt.Fprintln(os.Stderr, "etcdclient:", err)
		os.Exit(1)
	}
}

func scenariosCommand(args []string) error {
	flags := flag.NewFlagSet("scenarios", flag.ExitOnError)
	var o connection
	o.flags(flags)
	_ = flags.Parse(args)
	wanted := map[string]bool{}
	for _, name := range flags.Args() {
		wanted[name] = true
	}
	out := json.NewEncoder(os.Stdout)
	out.SetEscapeHTML(false)
	for _, s := range scenarios {
		if len(wanted) > 0 && !wanted[s.name] {
			continue
		}
		if err := runScenario(o, s, out); err != nil {
			return fmt.Errorf("%s: %w", s.name, err)
		}
	}
	return nil
}

// runScenario begins with an empty namespace and one connection of its own.
func runScenario(o connection, s scenario, out *json.Encoder) error {
	client, err := o.open()
	if err != nil {
		return err
	}
	defer client.Close()
	ctx, cancel := context.WithTimeout(context.Background(), 90*time.Second)
	defer cancel()
	r := &run{ctx: ctx, c: client, prefix: o.namespace, scenario: s.name, connection: o}
	if _, err := client.Delete(ctx, "", everything()...); err != nil {
		return fmt.Errorf("emptying: %w", err)
	}
	s.run(r)
	return r.print(out)
}
