package cmd

import (
	"encoding/json"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/goccy/go-yaml"
	"github.com/spf13/cobra"

	"github.com/pillion-dev/pillion/cmd/internal/ui"
	"github.com/pillion-dev/pillion/internal/human"
	"github.com/pillion-dev/pillion/internal/rundir"
	"github.com/pillion-dev/pillion/runtime/config"
)

type listOptions struct {
	output    string
	namespace string
	allHomes  bool
}

func newListCmd(c *ui.Console) *cobra.Command {
	var o listOptions
	output := &outputValue{c: c, known: []string{"table", "json", "yaml"}}
	cmd := &cobra.Command{
		Use:     "list [flags]",
		Aliases: []string{"ps"},
		Short:   "Show the apps that run here",
		Long: "Show the apps that run here: live ones only, of this home's trust domain. " +
			"In a pipe: tabs, no heads, the columns app, namespace, instance, status, app port, HTTP port, " +
			"gRPC port, pid, since, command, folder, certificate's end, sources that find it, restarts, why it is stale, since when.",
		Example: "pillion list\npillion list -o json",
		Args:    noArgs,
		RunE: func(*cobra.Command, []string) error {
			o.output = output.value
			return runList(c, o)
		},
	}
	g := group(cmd, "List")
	g.value(output, "output", "o", "<format> table, json or yaml [table]")
	g.text(&o.namespace, "namespace", "n", "<name> only this group of apps [all]")
	g.on(&o.allHomes, "all-homes", "A", "apps of all your trust domains")
	return cmd
}

func runList(c *ui.Console, o listOptions) error {
	m, err := findMachine(c)
	if err != nil {
		return err
	}
	all, err := m.live(o.allHomes)
	if err != nil {
		return err
	}
	entries := make([]rundir.Entry, 0, len(all))
	for _, e := range all {
		if o.namespace == "" || e.Namespace == o.namespace {
			entries = append(entries, e)
		}
	}
	now := time.Now()
	switch o.output {
	case "json", "yaml":
		return listData(c, o.output, entries, now)
	}
	if len(entries) == 0 {
		c.Err.Say(ui.NoMark, "no apps run here")
		return nil
	}
	if !c.Out.TTY {
		c.Out.Records(listRecords(entries))
		return nil
	}
	c.Out.Table(listTable(entries, now, config.UserHome(c.Getenv)))
	sayStale(c.Out, entries, now)
	return nil
}

// staleWord stands behind the state of an app that runs on although its newest
// source does not.
const staleWord = "STALE"

// status is the state as people are shown it.
func status(e rundir.Entry) ui.Cell {
	if e.Stale != "" {
		return ui.Cell{Text: ui.Printable(e.State) + " · " + staleWord, Tone: ui.ToneWarn}
	}
	return ui.Cell{Text: ui.Printable(e.State), Tone: ui.StatusTone(e.State)}
}

// staleText says why an instance is stale, and since when.
func staleText(p *ui.Printer, name string, e rundir.Entry, now time.Time) string {
	return name + " is " + staleWord + " since " + p.Moment(e.StaleSince, now) + ": " + ui.Printable(e.Stale)
}

// sayStale says below the table why instances are stale.
func sayStale(p *ui.Printer, entries []rundir.Entry, now time.Time) {
	names, first := instanceNames(entries), true
	for i, e := range entries {
		if e.Stale == "" {
			continue
		}
		if first {
			p.Print("\n")
		}
		first = false
		p.Note(ui.MarkWarning, staleText(p, ui.Printable(names[i]), e, now))
	}
}

// listRecords are the columns of the pipe. They keep their order; new ones are
// added at the end.
func listRecords(entries []rundir.Entry) [][]string {
	rows := make([][]string, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, []string{
			e.App, e.Namespace, e.ID, e.State,
			portText(e.AppPort), portText(e.HTTPPort), portText(e.GRPCPort),
			strconv.Itoa(e.PID), ui.Stamp(e.Since), shellCommand(e.Command),
			e.Folder, ui.Stamp(e.CertExpires), strings.Join(e.Discovery, ","),
			strconv.Itoa(e.Restarts), e.Stale, ui.Stamp(e.StaleSince),
		})
	}
	return rows
}

// listTable orders the columns by interest. They leave in the order of Leave.
func listTable(entries []rundir.Entry, now time.Time, home string) ui.Table {
	columns := []ui.Column{
		{Head: "APP"},
		{Head: "STATUS"},
		{Head: "PORT", Right: true, Leave: 11},
		{Head: "UP", Right: true, Leave: 10},
		{Head: "HTTP", Right: true, Leave: 9},
		{Head: "GRPC", Right: true, Leave: 5},
		{Head: "INSTANCE", Leave: 6},
		{Head: "PID", Right: true, Leave: 4},
		{Head: "CERT", Right: true, Leave: 3},
		{Head: "FOUND BY", Leave: 1},
		{Head: "FOLDER", Shrink: ui.InMiddle, Leave: 2},
		{Head: "COMMAND", Shrink: ui.AtEnd, Leave: 7},
	}
	rows := make([][]ui.Cell, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, []ui.Cell{
			{Text: ui.Printable(e.App), Tone: ui.ToneStrong},
			status(e),
			{Text: portText(e.AppPort)},
			{Text: human.Age(now.Sub(e.Since))},
			{Text: portText(e.HTTPPort)},
			{Text: portText(e.GRPCPort)},
			{Text: e.ID},
			{Text: strconv.Itoa(e.PID)},
			left(e.CertExpires, now),
			{Text: ui.Printable(strings.Join(e.Discovery, ", "))},
			{Text: ui.Printable(human.Tilde(e.Folder, home))},
			{Text: ui.Printable(shellCommand(e.Command))},
		})
	}
	t := ui.Table{Columns: columns, Rows: rows}
	if slices.ContainsFunc(entries, func(e rundir.Entry) bool { return e.Restarts > 0 }) {
		t.Insert(4, ui.Column{Head: "RESTARTS", Right: true, Leave: 8}, func(i int) ui.Cell {
			return ui.Cell{Text: strconv.Itoa(entries[i].Restarts)}
		})
	}
	// Columns that appear only where they tell rows apart.
	if several(entries, func(e rundir.Entry) string { return e.Namespace }) {
		t.Insert(1, ui.Column{Head: "NAMESPACE"}, func(i int) ui.Cell { return ui.Cell{Text: entries[i].Namespace} })
	}
	if several(entries, func(e rundir.Entry) string { return e.Home }) {
		t.Insert(1, ui.Column{Head: "HOME", Leave: 12}, func(i int) ui.Cell {
			return ui.Cell{Text: ui.Printable(human.Tilde(entries[i].Home, home))}
		})
	}
	return t
}

// left is how long a certificate lasts; little is worth a look.
func left(expires, now time.Time) ui.Cell {
	if expires.IsZero() {
		return ui.Cell{}
	}
	d := expires.Sub(now)
	switch {
	case d <= 0:
		return ui.Cell{Text: "expired", Tone: ui.ToneBad}
	case d < time.Hour:
		return ui.Cell{Text: human.Age(d), Tone: ui.ToneWarn}
	}
	return ui.Cell{Text: human.Age(d.Truncate(time.Hour))}
}

func several(entries []rundir.Entry, value func(rundir.Entry) string) bool {
	for _, e := range entries {
		if value(e) != value(entries[0]) {
			return true
		}
	}
	return false
}

func portText(n uint16) string {
	if n == 0 {
		return ""
	}
	return strconv.Itoa(int(n))
}

// shellCommand is a command line as a shell takes it.
func shellCommand(words []string) string {
	out := make([]string, len(words))
	for i, w := range words {
		out[i] = w
		if w == "" || strings.ContainsAny(w, " \t\n'\"\\$&|;<>()*?[]{}!#~`") {
			out[i] = "'" + strings.ReplaceAll(w, "'", `'\''`) + "'"
		}
	}
	return strings.Join(out, " ")
}

// listed is one instance as data: the keys of `dapr list -o json` where they
// exist, and our own. A key, once out, stays; what is unknown is null.
type listed struct {
	AppID       string  `json:"appId"`
	HTTPPort    *uint16 `json:"httpPort"`
	GRPCPort    *uint16 `json:"grpcPort"`
	AppPort     *uint16 `json:"appPort"`
	Metrics     bool    `json:"metricsEnabled"`
	Command     string  `json:"command"`
	Age         string  `json:"age"`
	Created     string  `json:"created"`
	DaprdPID    int     `json:"daprdPid"`
	CLIPID      int     `json:"cliPid"`
	AppPID      *int    `json:"appPid"`
	MaxBody     *int64  `json:"maxRequestBodySize"`
	ReadBuffer  *int64  `json:"httpReadBufferSize"`
	RunTemplate *string `json:"runTemplatePath"`
	AppLog      *string `json:"appLogPath"`
	DaprdLog    *string `json:"daprdLogPath"`
	RunName     *string `json:"runTemplateName"`

	MetricsPort *uint16   `json:"metricsPort"`
	Instance    string    `json:"instance"`
	Status      string    `json:"status"`
	Namespace   string    `json:"namespace"`
	TrustDomain string    `json:"trustDomain"`
	Identity    string    `json:"identity"`
	Protocol    *string   `json:"appProtocol"`
	Mesh        []string  `json:"meshAddresses"`
	LAN         bool      `json:"lan"`
	Discovery   []string  `json:"discovery"`
	Argv        []string  `json:"argv"`
	Folder      string    `json:"folder"`
	Home        string    `json:"home"`
	Since       time.Time `json:"since"`
	UptimeMS    int64     `json:"uptimeMs"`
	CertExpires *string   `json:"certExpires"`
	Run         *int      `json:"run"`
	Version     string    `json:"version"`
	Restarts    int       `json:"restarts"`
	Stale       *string   `json:"stale"`
	StaleSince  *string   `json:"staleSince"`
}

// daprCreated is the layout `dapr list` gives times in.
const daprCreated = "2006-01-02 15:04.05"

func listData(c *ui.Console, format string, entries []rundir.Entry, now time.Time) error {
	rows := make([]listed, 0, len(entries))
	for _, e := range entries {
		rows = append(rows, listedAs(e, now))
	}
	marshal := func(v any) ([]byte, error) { return json.MarshalIndent(v, "", "  ") }
	if format == "yaml" {
		marshal = func(v any) ([]byte, error) { return yaml.MarshalWithOptions(v, yaml.UseJSONMarshaler()) }
	}
	data, err := marshal(rows)
	if err != nil {
		return err
	}
	c.Out.Line(strings.TrimRight(string(data), "\n"))
	return nil
}

func listedAs(e rundir.Entry, now time.Time) listed {
	mesh := make([]string, len(e.Mesh))
	for i, a := range e.Mesh {
		mesh[i] = a.String()
	}
	argv := e.Command
	if argv == nil {
		argv = []string{}
	}
	return listed{
		AppID: e.App, HTTPPort: known(e.HTTPPort), GRPCPort: known(e.GRPCPort), AppPort: known(e.AppPort),
		Metrics: e.MetricsPort != 0, MetricsPort: known(e.MetricsPort),
		Command: shellCommand(e.Command), Age: human.Age(now.Sub(e.Since)),
		Created: e.Since.Local().Format(daprCreated), DaprdPID: e.PID, CLIPID: e.PID, AppPID: known(e.AppPID),
		Instance: e.ID, Status: e.State, Namespace: e.Namespace, TrustDomain: e.TrustDomain,
		Identity: e.Identity, Protocol: known(e.Protocol), Mesh: mesh, LAN: e.LAN, Argv: argv,
		Discovery: append([]string{}, e.Discovery...),
		Folder:    e.Folder, Home: e.Home, Since: e.Since.UTC().Truncate(time.Millisecond),
		UptimeMS: now.Sub(e.Since).Milliseconds(), CertExpires: known(ui.Stamp(e.CertExpires)),
		Run: known(e.Run), Version: e.Version,
		Restarts: e.Restarts, Stale: known(e.Stale), StaleSince: known(ui.Stamp(e.StaleSince)),
		RunTemplate: known(e.RunFile), RunName: known(e.RunName), AppLog: known(e.AppLog), DaprdLog: known(e.SidecarLog),
	}
}

// known is v, or null where it is unknown.
func known[T comparable](v T) *T {
	var none T
	if v == none {
		return nil
	}
	return &v
}
