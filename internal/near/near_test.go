package near

import "testing"

func TestMatchFindsWhatWasMeant(t *testing.T) {
	t.Parallel()
	names := []string{"run", "list", "stop", "logs", "invoke", "notification-service", "notify-service"}
	for in, want := range map[string]string{
		"lst":                "list",
		"lits":               "list", // two letters swapped
		"stpo":               "stop",
		"inv":                "invoke",
		"INVOKE":             "invoke",
		"notifcation-servce": "notification-service",
		"not":                "", // the beginning of two
		"stop":               "", // not a mistake
		"zebra":              "",
		"":                   "",
		"x":                  "",
	} {
		if got := Match(in, names); got != want {
			t.Errorf("Match(%q) = %q, want %q", in, got, want)
		}
	}
}

func TestEditsCountsSwapsOnce(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"", "abc", 3}, {"ab", "ba", 1}, {"kitten", "sitting", 3}, {"é", "e", 1}} {
		if got := Edits(c.a, c.b); got != c.want {
			t.Errorf("Edits(%q, %q) = %d, want %d", c.a, c.b, got, c.want)
		}
		if got := Edits(c.b, c.a); got != c.want {
			t.Errorf("Edits(%q, %q) = %d, want %d", c.b, c.a, got, c.want)
		}
	}
}

func TestMatchManyWantsMoreLettersForAnEdit(t *testing.T) {
	t.Parallel()
	programs := []string{"git", "ls", "node", "python3", "touch", "uvicorn", "docker-compose"}
	for in, want := range map[string]string{
		"nosuch":        "", // two edits from touch
		"uvicron":       "uvicorn",
		"pyhton3":       "python3",
		"gti":           "git",
		"nod":           "node",
		"lx":            "",
		"docekr-compse": "docker-compose",
	} {
		if got := MatchMany(in, programs); got != want {
			t.Errorf("MatchMany(%q) = %q, want %q", in, got, want)
		}
	}
}
