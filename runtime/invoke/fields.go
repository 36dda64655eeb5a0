package invoke

import "strings"

// Names of the fields that are ours or Dapr's.
const (
	FieldCallerApp       = "Dapr-Caller-App-Id"
	FieldCallerNamespace = "Dapr-Caller-Namespace"
	FieldCalleeApp       = "Dapr-Callee-App-Id"
	FieldTarget          = "Dapr-App-Id"
	FieldToken           = "Dapr-Api-Token" //nolint:gosec // a name, not a token
	// FieldTimeout is the one reserved field a client may send.
	FieldTimeout = "Pillion-Timeout"
	// FieldError and FieldHop mark an answer that pillion made, not the app.
	FieldError = "Pillion-Error"
	FieldHop   = "Pillion-Hop"
	// FieldAttempts says on an answer, or on an error, how many attempts were
	// made, if it was more than one.
	FieldAttempts = "Pillion-Attempts"
)

// reservedPrefix begins the fields that are pillion's own.
const reservedPrefix = "pillion-"

// StripHopByHop removes the lines that belong to one connection only
// (RFC 9110 §7.6.1, and the list Dapr drops), those that a Connection line
// names included. Content-Length and Host are framing too: they are removed,
// Call.Length, Answer.Length and Call.Host have them, and each codec writes its
// own. Trailer stays: it is an announcement for the far end (RFC 9110 §6.6.2).
// It changes f in place and allocates nothing unless there is a Connection
// line.
func StripHopByHop(f *Fields) { f.strip(oneHop) }

// OfOneHop reports whether a line called name belongs to one connection only,
// so that no codec may copy it: by its name, or because a Connection line names
// it.
func OfOneHop(name string, named []string) bool {
	return classOf(name)&oneHop != 0 || contains(named, name)
}

// StripReserved removes the lines that only pillion itself may write.
func StripReserved(f *Fields) { f.strip(reserved) }

// cleanTrailers is f without the lines that may not cross a hop; f itself where
// there are none.
func cleanTrailers(f Fields) Fields { return f.without(oneHop | reserved) }

// guardTrailers is cleanTrailers for a request, whose trailers may not say who
// calls whom either.
func guardTrailers(f Fields) Fields { return f.without(oneHop | reserved | claimed) }

// without is f without the lines of the classes: f itself if there are none, a
// copy otherwise.
func (f Fields) without(drop class) Fields {
	for i := range f {
		if classOf(f[i].Name)&drop != 0 {
			f = f.Clone()
			f.strip(drop)
			return f
		}
	}
	return f
}

// Nominated are the names that Connection lines list.
func Nominated(f Fields) []string {
	var names []string
	for i := range f {
		if !strings.EqualFold(f[i].Name, "connection") {
			continue
		}
		for name := range strings.SplitSeq(f[i].Value, ",") {
			if name = strings.Trim(name, " \t"); name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}

func contains(names []string, name string) bool {
	for _, n := range names {
		if strings.EqualFold(n, name) {
			return true
		}
	}
	return false
}

// IsReserved reports whether a line called name is one that only pillion itself
// may write.
func IsReserved(name string) bool {
	return len(name) >= len(reservedPrefix) && strings.EqualFold(name[:len(reservedPrefix)], reservedPrefix)
}
