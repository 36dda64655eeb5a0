package config

import (
	"path/filepath"
	"testing"
)

func TestFindHome(t *testing.T) {
	t.Parallel()
	abs, err := filepath.Abs("x")
	if err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		env  map[string]string
		want string
	}{
		"HOME":                  {map[string]string{"HOME": "/home/ada"}, "/home/ada/.pillion"},
		"PILLION_HOME":          {map[string]string{"HOME": "/home/ada", "PILLION_HOME": "/srv/p"}, "/srv/p"},
		"relative PILLION_HOME": {map[string]string{"PILLION_HOME": "x"}, abs},
	} {
		got, err := FindHome(environment(c.env))
		if err != nil || got.Path != c.want {
			t.Errorf("%s: %q, %v; want %q", name, got.Path, err, c.want)
		}
	}
	// Tools start us with a bare environment: the passwd entry counts.
	got, err := FindHome(environment(nil))
	if err != nil || !filepath.IsAbs(got.Path) || filepath.Base(got.Path) != ".pillion" {
		t.Errorf("without HOME: %q, %v", got.Path, err)
	}
}
