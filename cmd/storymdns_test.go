//go:build linux

package cmd

import (
	"os"
	"os/exec"
	"strings"
	"testing"
)

// storiesByMDNS are the stories told a second time with mDNS as the only
// source: whoever finds somebody there was found by multicast on loopback.
var storiesByMDNS = []string{
	"run_invoke_stop", "run_instances", "invoke_refusals", "invoke_not_found", "invoke_http_forms",
	"run_crash", "run_stopping_lets_calls_end", "stop_instances",
}

// TestScriptsWithMDNSAlone tells them in a network of their own that has a
// loopback interface and nothing else, so that nothing can leave the machine.
func TestScriptsWithMDNSAlone(t *testing.T) {
	t.Parallel()
	if os.Getenv(mdnsAlone) != "" {
		t.Skip("this is that second time")
	}
	if os.Geteuid() != 0 {
		t.Skip("a network namespace needs root")
	}
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	only := "-test.run=^TestScripts$/^(" + strings.Join(storiesByMDNS, "|") + ")$"
	cmd := exec.CommandContext(t.Context(), "unshare", "--net", "sh", "-c", `ip link set lo up && exec "$0" "$@"`,
		exe, only, "-test.count=1", "-test.v")
	cmd.Env = append(os.Environ(), mdnsAlone+"=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for _, story := range storiesByMDNS {
		if !strings.Contains(string(out), "--- PASS: TestScripts/"+story+" ") {
			t.Errorf("%s was not told:\n%s", story, out)
		}
	}
}
