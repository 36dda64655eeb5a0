package app

// Waiting is how many calls wait for the app to become ready, or for a slot:
// those that have their place in a queue.
func (a *App) Waiting() int {
	a.slots.mu.Lock()
	defer a.slots.mu.Unlock()
	return a.gate.holding() + a.slots.waiting.Len()
}

// Keeps reports whether the app has been seen to keep a connection for as long
// as calls that must not be repeated need.
func (a *App) Keeps() bool {
	a.pool.mu.Lock()
	defer a.pool.mu.Unlock()
	return a.pool.habits.lived >= idleTrusted
}

// ContinueWait is how long an app may take to ask for a body.
const ContinueWait = continueWait

// IdleTrusted is how long an idle connection is trusted at first.
const IdleTrusted = idleTrusted
