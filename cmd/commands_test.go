package cmd

import (
	"bytes"
	"slices"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
)

// console is one whose streams a test can read, in a home of its own.
func console(t *testing.T, env ...string) (c *ui.Console, out, err *bytes.Buffer) {
	t.Helper()
	out, err = new(bytes.Buffer), new(bytes.Buffer)
	values := map[string]string{"HOME": t.TempDir(), "PILLION_RUNTIME_DIR": t.TempDir()}
	for i := 0; i < len(env); i += 2 {
		values[env[i]] = env[i+1]
	}
	return ui.NewConsole(ui.Streams{
		In: strings.NewReader(""), Out: out, Err: err,
		Getenv: func(name string) string { return values[name] },
	}), out, err
}

func eachCommand(root *cobra.Command, f func(*cobra.Command)) {
	for _, sub := range root.Commands() {
		if !sub.Hidden && !strings.HasPrefix(sub.Name(), "__") {
			f(sub)
			eachCommand(sub, f)
		}
	}
}

func TestEveryCommandAndFlagIsDescribed(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	eachCommand(newRootCmd(c), func(cmd *cobra.Command) {
		path := cmd.CommandPath()
		if cmd.Short == "" || cmd.Example == "" || cmd.GroupID == "" {
			t.Errorf("%s has no short text, no example or no group", path)
		}
		for row := range strings.Lines(cmd.Example) {
			if !strings.Contains(row, "pillion ") {
				t.Errorf("%s: the example %q does not show pillion", path, row)
			}
		}
		cmd.LocalFlags().VisitAll(func(f *pflag.Flag) {
			if f.Hidden || f.Name == "help" {
				return
			}
			if f.Usage == "" || strings.ToUpper(f.Usage[:1]) == f.Usage[:1] && !strings.HasPrefix(f.Usage, "HTTP") &&
				!strings.HasPrefix(f.Usage, "GET") && !strings.HasPrefix(f.Usage, "Dapr") && !strings.HasPrefix(f.Usage, "[") {
				t.Errorf("%s --%s: the text %q does not begin lower case", path, f.Name, f.Usage)
			}
			if n := ui.Cells(f.Usage); n > 47 {
				t.Errorf("%s --%s: the text has %d columns, 47 fit at 80", path, f.Name, n)
			}
			if len(f.Annotations[noteGroup]) == 0 {
				t.Errorf("%s --%s is in no group", path, f.Name)
			}
			switch kind := placeholder(f); {
			case f.Value.Type() != "bool" && (kind == "" || kind == "string" || kind == "stringArray"):
				t.Errorf("%s --%s does not say the kind of its value", path, f.Name)
			case f.Value.Type() == "bool" && kind != "":
				t.Errorf("%s --%s takes no value and names one", path, f.Name)
			}
		})
	})
}

func TestRootHelpFits24Rows(t *testing.T) {
	t.Parallel()
	c, out, _ := console(t)
	printHelp(c, newRootCmd(c))
	if n := strings.Count(out.String(), "\n"); n > 24 {
		t.Errorf("the root's help has %d rows, 24 fit", n)
	}
	for row := range strings.Lines(out.String()) {
		if strings.TrimRight(row, " \n")+"\n" != row {
			t.Errorf("the row %q ends in blanks", row)
		}
	}
}

// The flags of `dapr run` and `dapr invoke` (dapr-facts §11.2, §11.5) exist
// under their names and short names.
func TestFlagsOfDaprExist(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	root := newRootCmd(c)
	for command, flags := range map[string][]string{
		"run": {
			"app-id a", "app-port p", "app-protocol P", "app-channel-address", "app-max-concurrency", "app-ssl",
			"config c", "resources-path", "components-path d", "dapr-http-port H", "dapr-grpc-port G",
			"dapr-internal-grpc-port I", "metrics-port M", "profile-port", "enable-profiling",
			"dapr-listen-addresses", "unix-domain-socket u", "log-level", "enable-api-logging",
			"max-body-size", "read-buffer-size", "enable-app-health-check", "app-health-check-path",
			"app-health-probe-interval", "app-health-probe-timeout", "app-health-threshold",
			"placement-host-address", "scheduler-host-address", "run-file f", "kubernetes k",
		},
		"invoke": {"app-id a", "method m", "data d", "data-file f", "verb X"},
		"stop":   {"app-id a"},
		"list":   {"output o", "namespace n"},
	} {
		cmd, _, err := root.Find([]string{command})
		if err != nil {
			t.Fatal(err)
		}
		for _, flag := range flags {
			name, short, _ := strings.Cut(flag, " ")
			if f := cmd.Flags().Lookup(name); f == nil || f.Shorthand != short {
				t.Errorf("%s: --%s -%s is missing or different: %v", command, name, short, f)
			}
		}
	}
	invoke, _, err := root.Find([]string{"invoke"})
	if err != nil {
		t.Fatal(err)
	}
	if invoke.Flags().ShorthandLookup("v") == nil {
		t.Error("invoke has no -v, which is --verb there")
	}
}

func TestCommandsStandInTheirGroups(t *testing.T) {
	t.Parallel()
	c, _, _ := console(t)
	got := map[string][]string{}
	for _, cmd := range inOrder(newRootCmd(c)) {
		got[cmd.GroupID] = append(got[cmd.GroupID], cmd.Name())
	}
	for group, want := range map[string][]string{
		groupApps:    {"run", "invoke", "list", "stop", "restart", "logs"},
		groupMachine: {"init", "uninstall", "sidecar"},
		groupMore:    {"docs", "version", "completion", "help"},
	} {
		if !slices.Equal(got[group], want) {
			t.Errorf("%s has %v, want %v", group, got[group], want)
		}
	}
}
