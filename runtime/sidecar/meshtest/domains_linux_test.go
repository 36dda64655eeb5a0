package meshtest_test

import "testing"

// Two homes are two trust domains: the same app IDs in both never meet, on
// one machine as on one cable.
func TestTrustDomainsNeverMeet(t *testing.T) {
	t.Parallel()
	t.Run("on one machine", func(t *testing.T) {
		t.Parallel()
		mine := alone(t)
		theirs := newMachine(t)
		theirs.netns, theirs.run = mine.netns, mine.run // they even share the folder
		strangers(t, mine, theirs)
	})
	t.Run("on one cable", func(t *testing.T) {
		t.Parallel()
		a, b := cable(t)
		mine, theirs := newMachine(t), newMachine(t)
		mine.netns, theirs.netns = a, b
		strangers(t, mine, theirs, "--lan")
	})
}

func strangers(t *testing.T, mine, theirs *machine, flags ...string) {
	t.Helper()
	theirs.app("orders", flags...)
	_, door := mine.caller("web", flags...)
	if r := door.get("/v1.0/invoke/orders/method/a"); r.status != 500 || r.header.Get("pillion-error") == "" {
		t.Errorf("their app, called through the door: %v %v", r, r.header)
	}
	if r := mine.pillion(append([]string{"invoke", "orders", "a"}, flags...)...); r.status != 70 {
		t.Errorf("their app, invoked: %v, want it not found", r)
	}
	if all := mine.instances("orders"); len(all) != 0 {
		t.Errorf("their app is listed: %v", all)
	}
	theirs.untouched()

	mine.app("orders", flags...)
	for range 20 {
		if r := door.get("/v1.0/invoke/orders/method/a"); !r.ok() {
			t.Errorf("my own app: %v", r)
		}
	}
	mine.invoke(append([]string{"orders", "a"}, flags...)...)
	theirs.untouched()
	theirs.invoke(append([]string{"orders", "a"}, flags...)...)
}
