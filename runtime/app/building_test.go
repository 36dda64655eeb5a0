package app

import "testing"

func TestBuildingIsToldFromRunning(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		names []string
		want  bool
	}{
		{[]string{"go"}, true},
		{[]string{"sh", "go", "compile", "link"}, true},
		{[]string{"go", "todo-api"}, false},
		{[]string{"npm", "sh", "tsc"}, true},
		{[]string{"sh"}, false},
		{[]string{"node"}, false},
		{nil, false},
	} {
		if got := isBuilding(test.names); got != test.want {
			t.Errorf("isBuilding(%q) = %v", test.names, got)
		}
	}
}
