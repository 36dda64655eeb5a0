package invoke

import "strings"

// A class is what a field's name says about who may pass it on.
type class uint8

const (
	oneHop     class = 1 << iota // of one connection only
	reserved                     // pillion's own
	claimed                      // says who calls whom
	connection                   // names others of one connection
)

// classOf sorts a name by its length first, so that most names cost a few
// comparisons.
func classOf(name string) class {
	switch len(name) {
	case 2:
		return oneHopIf(name, "te")
	case 4:
		return oneHopIf(name, "host")
	case 7:
		return oneHopIf(name, "upgrade")
	case 10:
		if strings.EqualFold(name, "connection") {
			return oneHop | connection
		}
		return oneHopIf(name, "keep-alive")
	case 14:
		if strings.EqualFold(name, "content-length") {
			return oneHop
		}
		return oneHopIf(name, "http2-settings")
	case 16:
		return oneHopIf(name, "proxy-connection")
	case 17:
		return oneHopIf(name, "transfer-encoding")
	case 18:
		return oneHopIf(name, "proxy-authenticate")
	case 19:
		if strings.EqualFold(name, "proxy-authorization") {
			return oneHop
		}
	}
	return ownClass(name)
}

func oneHopIf(name, hop string) class {
	if strings.EqualFold(name, hop) {
		return oneHop
	}
	return ownClass(name)
}

func ownClass(name string) class {
	if len(name) < len(reservedPrefix) {
		return 0
	}
	switch name[0] {
	case 'p', 'P':
		if IsReserved(name) {
			return reserved
		}
	case 'd', 'D':
		if isIdentity(name) {
			return claimed
		}
	}
	return 0
}

// strip drops the lines of the classes, and those that a Connection line names
// if the lines of one hop are among them. It changes f in place, and writes
// nothing if nothing is dropped, so that shared fields stay untouched.
func (f *Fields) strip(drop class) {
	first, names := -1, []string(nil)
	for i := range *f {
		k := classOf((*f)[i].Name)
		if k&drop == 0 {
			continue
		}
		if first < 0 {
			first = i
		}
		if k&connection != 0 {
			first, names = 0, Nominated(*f)
			break
		}
	}
	if first < 0 {
		return
	}
	kept := (*f)[:first]
	for _, field := range (*f)[first:] {
		if classOf(field.Name)&drop == 0 && !contains(names, field.Name) {
			kept = append(kept, field)
		}
	}
	*f = kept
}
