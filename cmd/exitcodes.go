package cmd

import "github.com/pillion-dev/pillion/cmd/internal/ui"

// The rows of exit statuses, in the one table people can ask for.
const (
	exitsRun = "the app's own\t128+n if signal n ended it\n" +
		"125, 126, 127\tpillion failed; not executable; no such command\n"
	exitsInvoke = "0\tthe app answered 2xx or 3xx\n" +
		"4, 5\tthe app answered 4xx or 5xx\n" +
		"70\tapp not found\n" +
		"71, 72, 73\tdiscovery, network, identity\n" +
		"74, 75\tdenied, time-out\n" +
		"76, 77\tapp not reachable, protocol\n" +
		"78\tour own configuration\n"
	exitsSidecar = "0\tstopped\n" +
		"1\tcould not run, or was cut short: see the log\n" +
		"2\tusage: the command line is wrong\n"
	exitsRestart = "0\tall were restarted\n" +
		"1\tone was not restarted\n" +
		"2\tusage: the command line is wrong, or there is no app to restart\n" +
		"3\tno such app\n" +
		"130\tCtrl-C; what has begun goes on\n"
	exitsAll = "0\tgood\n" +
		"1\tdid not work\n" +
		"2\tusage: the command line is wrong\n" +
		"3\tno such app or run\n" +
		"130\tCtrl-C\n"
)

func printExitCodes(c *ui.Console) {
	h := &helpText{p: c.Out}
	h.prose("What pillion's exit statuses mean, by command.")
	h.heading("Every command but run and sidecar")
	h.exits(exitsAll)
	h.heading("pillion run")
	h.exits(exitsRun)
	h.heading("pillion invoke, beside 1, 2 and 130")
	h.exits(exitsInvoke)
	h.heading("pillion sidecar, as daprd")
	h.exits(exitsSidecar)
	c.Out.Print(h.out.String())
}
