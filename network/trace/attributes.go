package trace

import (
	"encoding/binary"

	"golang.org/x/sys/unix"
)

// attributes are netlink attributes in a row.
type attributes []byte

// typeMask takes NLA_F_NESTED and NLA_F_NET_BYTEORDER off, linux/netlink.h.
const typeMask = 0x3fff

// each gives every attribute to f, until the bytes make no sense.
func (a attributes) each(f func(kind uint16, value attributes)) {
	for len(a) >= unix.SizeofNlAttr {
		size := int(binary.NativeEndian.Uint16(a))
		if size < unix.SizeofNlAttr || size > len(a) {
			return
		}
		f(binary.NativeEndian.Uint16(a[2:])&typeMask, a[unix.SizeofNlAttr:size:size])
		a = a[min(len(a), (size+3)&^3):]
	}
}

// get is the value of the first attribute of the kind, or nil.
func (a attributes) get(kind uint16) (found attributes) {
	a.each(func(k uint16, value attributes) {
		if k == kind && found == nil {
			found = value
		}
	})
	return found
}

func (a attributes) text(kind uint16) string { return unix.ByteSliceToString(a.get(kind)) }

// big is a number in network order of any length, as netfilter sends them.
func (a attributes) big(kind uint16) (n uint64) {
	for _, digit := range a.get(kind) {
		n = n<<8 | uint64(digit)
	}
	return n
}

// native is a number in the host's order, as rtnetlink sends them.
func (a attributes) native(kind uint16) uint32 {
	if value := a.get(kind); len(value) >= 4 {
		return binary.NativeEndian.Uint32(value)
	}
	return 0
}

// add appends an attribute.
func (a *attributes) add(kind uint16, value ...byte) {
	size := unix.SizeofNlAttr + len(value)
	*a = binary.NativeEndian.AppendUint16(*a, uint16(size))
	*a = binary.NativeEndian.AppendUint16(*a, kind)
	*a = append(*a, value...)
	*a = append(*a, make([]byte, (size+3)&^3-size)...)
}

func (a *attributes) addText(kind uint16, text string) { a.add(kind, append([]byte(text), 0)...) }

func (a *attributes) addBig(kind uint16, n uint32) {
	a.add(kind, binary.BigEndian.AppendUint32(nil, n)...)
}

func (a *attributes) addNative(kind uint16, n uint32) {
	a.add(kind, binary.NativeEndian.AppendUint32(nil, n)...)
}

// nest appends attributes as one.
func (a *attributes) nest(kind uint16, inner attributes) { a.add(kind|unix.NLA_F_NESTED, inner...) }
