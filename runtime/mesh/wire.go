package mesh

import (
	"encoding/binary"
	"errors"
	"fmt"
	"time"

	"github.com/pillion-dev/pillion/runtime/invoke"
)

var errShort = errors.New("the payload ends too early")

func appendString(b []byte, s string) []byte {
	return append(binary.AppendUvarint(b, uint64(len(s))), s...)
}

func appendFields(b []byte, fields invoke.Fields) []byte {
	b = binary.AppendUvarint(b, uint64(len(fields)))
	for i := range fields {
		b = appendString(b, fields[i].Name)
		b = appendString(b, fields[i].Value)
	}
	return b
}

// fieldsSize is at least the size of the encoded fields.
func fieldsSize(fields invoke.Fields) int {
	n := binary.MaxVarintLen32
	for i := range fields {
		n += len(fields[i].Name) + len(fields[i].Value) + 2*binary.MaxVarintLen32
	}
	return n
}

// A decoder reads a payload that has been copied into one string: all strings
// of a head are parts of it, and cost one allocation together. The first error
// sticks.
type decoder struct {
	rest string
	err  error
}

func (d *decoder) uvarint() uint64 {
	var v uint64
	for i := 0; i < len(d.rest) && i < binary.MaxVarintLen64; i++ {
		c := d.rest[i]
		v |= uint64(c&0x7f) << (7 * i)
		if c < 0x80 {
			if i == binary.MaxVarintLen64-1 && c > 1 {
				break
			}
			d.rest = d.rest[i+1:]
			return v
		}
	}
	d.fail(errShort)
	return 0
}

// number reads a uvarint that is at most limit.
func (d *decoder) number(limit uint64) uint64 {
	v := d.uvarint()
	if v > limit {
		d.fail(fmt.Errorf("the number %d where %d is the limit", v, limit))
		return 0
	}
	return v
}

func (d *decoder) str() string {
	n := d.uvarint()
	if n > uint64(len(d.rest)) {
		d.fail(errShort)
		return ""
	}
	s := d.rest[:n]
	d.rest = d.rest[n:]
	return s
}

// spareFields is room for what the stages of a call add to its fields.
const spareFields = 8

func (d *decoder) fields() invoke.Fields {
	n := d.uvarint()
	// A field takes two bytes at least.
	if n > uint64(len(d.rest)/2) {
		d.fail(errShort)
		return nil
	}
	if n == 0 {
		return nil
	}
	fields := make(invoke.Fields, 0, n+spareFields)
	for range n {
		fields = append(fields, invoke.Field{Name: d.str(), Value: d.str()})
	}
	if d.err != nil {
		return nil
	}
	return fields
}

func (d *decoder) fail(err error) {
	if d.err == nil {
		d.err = err
	}
	d.rest = ""
}

// micros and duration carry times as whole microseconds.
func micros(d time.Duration) uint64 {
	return uint64(max(d, 0) / time.Microsecond)
}

func duration(micros uint64) time.Duration {
	return time.Duration(min(micros, maxMicros)) * time.Microsecond
}

// number decodes a payload that is one uvarint.
func number(payload []byte, limit uint64) (uint64, error) {
	d := decoder{rest: string(payload)}
	v := d.number(limit)
	return v, d.err
}
