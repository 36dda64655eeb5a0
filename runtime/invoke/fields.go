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
)

// reservedPrefix begins the fields that are pillion's own.
const reservedPrefix = "pillion-"

// hopByHop are the fields that end at each hop (RFC 9110 §7.6.1, and the list
// Dapr drops), in lower case. Trailer is not among them: it is an announcement
// for the far end (RFC 9110 §6.6.2).
var hopByHop = [...]string{
	"connection", "keep-alive", "proxy-connection", "transfer-encoding", "upgrade",
	"http2-settings", "te", "proxy-authorization", "proxy-authenticate",
}

// StripHopByHop removes the lines that belong to one connection only, those
// that a Connection line names included. Content-Length and Host are framing
// too: they are removed, Call.Length, Answer.Length and Call.Host have them,
// and each codec writes its own. It changes f in place and allocates nothing
// unless there is a Connection line.
func StripHopByHop(f *Fields) {
	named := Nominated(*f)
	f.remove(func(name string) bool { return OfOneHop(name, named) })
}

// OfOneHop reports whether a line called name belongs to one connection only,
// so that no codec may copy it: by its name, or because a Connection line names
// it.
func OfOneHop(name string, named []string) bool {
	return isHopByHop(name) || strings.EqualFold(name, "content-length") ||
		strings.EqualFold(name, "host") || contains(named, name)
}

// StripReserved removes the lines that only pillion itself may write.
func StripReserved(f *Fields) {
	f.remove(IsReserved)
}

// cleanTrailers is f without the lines that may not cross a hop.
func cleanTrailers(f Fields) Fields {
	if len(f) == 0 {
		return f
	}
	f = f.Clone()
	StripHopByHop(&f)
	StripReserved(&f)
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

func isHopByHop(name string) bool {
	for _, hop := range hopByHop {
		if strings.EqualFold(name, hop) {
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

// remove drops the lines whose name satisfies drop. Nothing is written if none
// does, so that shared fields without such a line stay untouched.
func (f *Fields) remove(drop func(name string) bool) {
	first := -1
	for i := range *f {
		if drop((*f)[i].Name) {
			first = i
			break
		}
	}
	if first < 0 {
		return
	}
	kept := (*f)[:first]
	for _, field := range (*f)[first+1:] {
		if !drop(field.Name) {
			kept = append(kept, field)
		}
	}
	*f = kept
}
