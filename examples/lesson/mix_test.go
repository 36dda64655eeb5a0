package lesson_test

import (
	"encoding/json"
	"strings"
	"testing"
	"time"
)

const (
	todo    = "todo-api"
	notify  = "notification-service"
	billing = "billing-service"
)

// A task is what todo-api answers.
type task struct {
	ID, Title, Status, Billing string
}

func (w *world) task(args ...string) task {
	w.t.Helper()
	out := w.invoke(append([]string{todo}, args...)...)
	var made task
	if err := json.Unmarshal([]byte(out), &made); err != nil || made.ID == "" {
		w.t.Fatalf("todo-api answered %q: %v", out, err)
	}
	return made
}

// The lesson itself: a task is created, the notification arrives; it is
// completed, billing charges and the second notification arrives by the header
// form. Neither service knows in which language the other is written.
func TestServicesCallEachOtherInEveryMixOfLanguages(t *testing.T) {
	t.Parallel()
	for _, mix := range []struct{ todo, notify, billing language }{
		{inGo, inGo, inGo},
		{inGo, inPython, inPython},
		{inPython, inGo, inPython},
		{inPython, inPython, inGo},
	} {
		t.Run(string(mix.todo+" calls "+mix.notify+" and "+mix.billing), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(service{app: todo, in: mix.todo}, service{app: notify, in: mix.notify}, service{app: billing, in: mix.billing})

			made := w.task("tasks", "-d", `{"title":"Buy groceries"}`)
			if made.Title != "Buy groceries" || made.Status != "pending" {
				t.Errorf("created %+v", made)
			}
			w.logged(notify, "INFO:     Notification received: Todo created: Buy groceries\n")
			w.logged(todo, "Notification response: ")

			done := w.task("tasks/" + made.ID + "/complete")
			if done.Status != "completed" || done.Billing != "charged" {
				t.Errorf("completed %+v", done)
			}
			w.logged(billing, "INFO:     Charged: Buy groceries\n")
			w.logged(notify, "INFO:     Notification received: Task completed: Buy groceries\n")
		})
	}
}

// Neither the runtime folder nor a flag says where the other is: mDNS alone
// finds it, without a packet leaving the machine.
func TestServicesFindEachOtherByMulticastDNSAlone(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	flags := []string{"--discovery", "mdns", "--app-port", "auto"}
	w.run(service{app: todo, in: inGo, flags: flags}, service{app: notify, in: inGo, flags: flags})

	// A name nobody has seen is not waited for: on a busy machine the first
	// answers may come too late, and the next call finds them.
	found, notified := false, false
	for end := time.Now().Add(patience); !found || !notified; {
		if time.Now().After(end) {
			t.Fatalf("todo-api found: %v, notification-service found: %v", found, notified)
		}
		_, errs, status := w.pillion("invoke", todo, "tasks", "-d", `{"title":"Buy groceries"}`, "--discovery", "mdns", "--verbose")
		found = found || status == 0 && strings.Contains(errs, "found by mdns")
		out, _, _ := w.pillion("logs", notify, "--grep", "Notification received: Todo created: Buy groceries")
		notified = out != ""
	}
}

// The caller that an app is told of is the one in the caller's certificate,
// whatever the caller's app says of itself.
func TestTheCalleeIsToldWhoCalls(t *testing.T) {
	t.Parallel()
	w := newWorld(t)
	w.run(service{app: todo, in: inGo}, service{app: notify, in: inGo})
	w.task("tasks", "-d", `{"title":"Buy groceries"}`)
	w.logged(notify, "called by todo-api, as its certificate says\n")

	w.invoke(notify, "notify", "-H", "dapr-caller-app-id: todo-api")
	w.logged(notify, "called by pillion-cli, as its certificate says\n")
}

// A task is not lost because nobody could be told of it, and the next one is
// delivered as soon as the other service is there again.
func TestACalleeMayStopAndStartAgain(t *testing.T) {
	t.Parallel()
	for _, in := range []language{inGo, inPython} {
		t.Run(string(in), func(t *testing.T) {
			t.Parallel()
			w := newWorld(t)
			w.run(service{app: todo, in: in, flags: []string{"--app-port", "auto", "--hold", "2s"}}, service{app: notify, in: inGo})
			w.task("tasks", "-d", `{"title":"One"}`)
			w.logged(notify, "Notification received: Todo created: One\n")

			if out, errs, status := w.pillion("stop", notify); status != 0 {
				t.Fatalf("stop: exit %d %s%s", status, out, errs)
			}
			two := w.task("tasks", "-d", `{"title":"Two"}`)
			w.logged(todo, "Notification failed: ERR_DIRECT_INVOKE: failed to invoke, id: notification-service, "+
				"err: couldn't find service: notification-service (app-id notification-service not found: running here is todo-api, after waiting ")
			const rest = `after waiting [0-9.]+s for it to come; start it with: pillion run --app-id notification-service -- <command>\)`
			if out, _, _ := w.pillion("logs", todo, "--grep", rest); out == "" {
				t.Errorf("the message does not go on with %s", rest)
			}
			if kept := w.task("tasks/"+two.ID, "-X", "GET"); kept.Title != "Two" {
				t.Errorf("the task is %+v", kept)
			}

			w.run(service{app: notify, in: inGo})
			w.task("tasks", "-d", `{"title":"Three"}`)
			w.logged(notify, "Notification received: Todo created: Three\n")
		})
	}
}
