// Command todo-api is the lesson's first service. It creates tasks and tells
// notification-service; when a task is completed it has billing-service charge
// for it and notifies again. It finds both by their app IDs, through its own
// sidecar, and never learns where they run; nor where its tasks are kept.
package main

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"log"
	"net"
	"net/http"
	"os"
	"time"
)

type task struct {
	ID     string `json:"id"`
	Title  string `json:"title"`
	Status string `json:"status"`
}

// store is always there; a Component file of that name takes its place.
const store = "statestore"

// api is the service.
type api struct{ sidecar *sidecar }

func main() {
	a := &api{newSidecar()}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tasks", a.create)
	mux.HandleFunc("GET /tasks/{id}", a.get)
	mux.HandleFunc("POST /tasks/{id}/complete", a.complete)
	mux.HandleFunc("GET /health", func(w http.ResponseWriter, _ *http.Request) {
		reply(w, http.StatusOK, map[string]string{"status": "healthy"})
	})

	port := os.Getenv("PORT")
	if port == "" {
		port = "8000"
	}
	log.SetFlags(0)
	ln, err := net.Listen("tcp", "127.0.0.1:"+port)
	if err != nil {
		log.Fatalf("ERROR:    %v", err)
	}
	log.SetPrefix("INFO:     ")
	log.Printf("listening on http://%s", ln.Addr())
	server := &http.Server{Handler: mux, ReadHeaderTimeout: 5 * time.Second}
	log.Fatal(server.Serve(ln))
}

func (a *api) create(w http.ResponseWriter, r *http.Request) {
	var t task
	if err := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20)).Decode(&t); err != nil || t.Title == "" {
		reply(w, http.StatusUnprocessableEntity, map[string]string{"detail": `a task needs a title: {"title":"Buy groceries"}`})
		return
	}
	t.ID, t.Status = rand.Text(), "pending"
	if !a.save(w, r, t) {
		return
	}
	log.Printf("Task created: %s", t.Title)

	// The path form: what invoke_method of the Dapr SDKs sends.
	answer, err := a.sidecar.invoke(r.Context(), "notification-service", "notify", map[string]string{
		"message": "Todo created: " + t.Title,
		"task_id": t.ID,
	})
	if err != nil {
		// The task is safe; that nobody was told is worth a line, not a failure.
		log.Printf("Notification failed: %v", err)
	} else {
		log.Printf("Notification response: %s", answer)
	}
	reply(w, http.StatusCreated, t)
}

func (a *api) get(w http.ResponseWriter, r *http.Request) {
	t, ok := a.find(w, r)
	if !ok {
		return
	}
	reply(w, http.StatusOK, t)
}

// complete marks a task as done, has it charged, and notifies. A task is
// complete even if it could not be charged; the answer says which.
func (a *api) complete(w http.ResponseWriter, r *http.Request) {
	t, ok := a.find(w, r)
	if !ok {
		return
	}
	t.Status = "completed"
	if !a.save(w, r, t) {
		return
	}

	billing := "charged"
	if _, err := a.sidecar.invoke(r.Context(), "billing-service", "charge", map[string]string{
		"task_id": t.ID, "title": t.Title,
	}); err != nil {
		billing = advice(err)
		log.Printf("Not charged: %s", billing)
	}

	// The header form: an ordinary request to the sidecar, with the app ID in
	// a header.
	answer, err := a.sidecar.post(r.Context(), "notification-service", "/notify", map[string]string{
		"message": "Task completed: " + t.Title, "task_id": t.ID,
	})
	if err != nil {
		log.Printf("Notification failed: %v", err)
	} else {
		log.Printf("Notification response: %s", answer)
	}
	reply(w, http.StatusOK, map[string]string{"id": t.ID, "title": t.Title, "status": t.Status, "billing": billing})
}

// advice turns the three failures of the lesson's table into what to do.
func advice(err error) string {
	switch reasonOf(err) {
	case notFound:
		return "pending: billing-service is not running; start it and charge again"
	case refused:
		return "pending: billing-service runs, but its app cannot be reached; check its --app-port"
	case timedOut:
		return "pending: billing-service took too long; it may have charged, so look before charging again"
	default:
		return fmt.Sprintf("pending: %v", err)
	}
}

// save keeps a task, or says why it cannot.
func (a *api) save(w http.ResponseWriter, r *http.Request, t task) bool {
	if err := a.sidecar.saveState(r.Context(), store, "task-"+t.ID, t); err != nil {
		log.Printf("Not saved: %v", err)
		reply(w, http.StatusServiceUnavailable, map[string]string{"detail": err.Error()})
		return false
	}
	return true
}

// find is the task that the request is about, or says that there is none.
func (a *api) find(w http.ResponseWriter, r *http.Request) (t task, ok bool) {
	id := r.PathValue("id")
	ok, err := a.sidecar.getState(r.Context(), store, "task-"+id, &t)
	switch {
	case err != nil:
		reply(w, http.StatusServiceUnavailable, map[string]string{"detail": err.Error()})
	case !ok:
		reply(w, http.StatusNotFound, map[string]string{"detail": "no task " + id})
	}
	return t, ok && err == nil
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client has gone: nobody is left to tell
}
