package trace

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	bpflink "github.com/cilium/ebpf/link"
	"github.com/cilium/ebpf/ringbuf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"
)

// A drop is a packet that the kernel threw away, and its word for why.
type drop struct {
	netns    uint64
	link     int    // index; 0: it was at none
	reason   string // "NETFILTER_DROP", "IP_RPFILTER", …; see include/net/dropreason-core.h
	location uint64 // in the kernel's code
	packet   *packet
}

// A dropWatch is an eBPF program at the raw tracepoint kfree_skb, through which
// every packet goes that is thrown away. It copies the reason, the namespace, the
// link and the headers of IP packets; whose they are is decided here.
type dropWatch struct {
	attached bpflink.Link
	reader   *ringbuf.Reader
	names    map[uint32]string

	mu   sync.Mutex
	list []drop
	done chan struct{}
}

// What the program writes of each packet.
const (
	dropReasonAt   = 0
	dropLinkAt     = 4
	dropLocationAt = 8
	dropNetnsAt    = 16
	dropPacketAt   = 24
	dropPacketSize = 128
	dropEventSize  = dropPacketAt + dropPacketSize
)

// dropRingBytes is room for 1,500 drops; more at once than that are lost.
const dropRingBytes = 256 << 10

// watchDrops begins. It fails where the kernel has no eBPF or no types (BTF),
// gives no reasons (before Linux 5.17), or does not let us.
func watchDrops() (w *dropWatch, err error) {
	kernel, err := readKernelTypes()
	if err != nil {
		return nil, fmt.Errorf("watch drops: %w", err)
	}
	if err := rlimit.RemoveMemlock(); err != nil { // Linux before 5.11 counts maps as locked memory
		return nil, fmt.Errorf("watch drops: %w", err)
	}
	ring, err := ebpf.NewMap(&ebpf.MapSpec{Type: ebpf.RingBuf, MaxEntries: dropRingBytes})
	if err != nil {
		return nil, fmt.Errorf("watch drops: %w", err)
	}
	defer func() { err = errors.Join(err, ring.Close()) }() // the program and the reader hold it as well
	program, err := ebpf.NewProgram(&ebpf.ProgramSpec{Type: ebpf.RawTracepoint, License: "GPL", Instructions: kernel.program(ring.FD())})
	if err != nil {
		return nil, fmt.Errorf("watch drops: %w", err)
	}
	defer func() { err = errors.Join(err, program.Close()) }()
	w = &dropWatch{names: kernel.reasons, done: make(chan struct{})}
	if w.reader, err = ringbuf.NewReader(ring); err != nil {
		return nil, fmt.Errorf("watch drops: %w", err)
	}
	if w.attached, err = bpflink.AttachRawTracepoint(bpflink.RawTracepointOptions{Name: "kfree_skb", Program: program}); err != nil {
		return nil, errors.Join(fmt.Errorf("watch drops: %w", err), w.reader.Close())
	}
	go w.collect()
	return w, nil
}

func (w *dropWatch) close() error {
	if w == nil {
		return nil
	}
	err := errors.Join(w.attached.Close(), w.reader.Close())
	<-w.done
	return err
}

// collect ends when the reader is closed.
func (w *dropWatch) collect() {
	defer close(w.done)
	for {
		record, err := w.reader.Read()
		if err != nil {
			return
		}
		if b := record.RawSample; len(b) >= dropEventSize {
			d := drop{
				reason: w.reason(binary.NativeEndian.Uint32(b[dropReasonAt:])), link: int(binary.NativeEndian.Uint32(b[dropLinkAt:])),
				location: binary.NativeEndian.Uint64(b[dropLocationAt:]), netns: uint64(binary.NativeEndian.Uint32(b[dropNetnsAt:])),
				packet: parseIP(bytes.Clone(b[dropPacketAt:dropEventSize])),
			}
			if d.packet != nil {
				w.mu.Lock()
				w.list = append(w.list, d)
				w.mu.Unlock()
			}
		}
	}
}

func (w *dropWatch) reason(number uint32) string {
	if name, ok := w.names[number]; ok {
		return name
	}
	return fmt.Sprintf("reason %d", number)
}

// drops are those until now.
func (w *dropWatch) drops() []drop {
	if w == nil {
		return nil
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return append([]drop(nil), w.list...)
}

// kernelTypes are where this kernel has what we read.
type kernelTypes struct {
	protocol, head, networkHeader, dev, sk int16 // in struct sk_buff
	ifindex, devNet                        int16 // in struct net_device
	sockNet                                int16 // in struct sock
	inum                                   int16 // in struct net
	reasons                                map[uint32]string
}

func readKernelTypes() (k kernelTypes, err error) {
	spec, err := btf.LoadKernelSpec()
	if err != nil {
		return k, err
	}
	for _, f := range []struct {
		to       *int16
		typeName string
		path     []string
	}{
		{&k.protocol, "sk_buff", []string{"protocol"}},
		{&k.head, "sk_buff", []string{"head"}},
		{&k.networkHeader, "sk_buff", []string{"network_header"}},
		{&k.dev, "sk_buff", []string{"dev"}},
		{&k.sk, "sk_buff", []string{"sk"}},
		{&k.ifindex, "net_device", []string{"ifindex"}},
		{&k.devNet, "net_device", []string{"nd_net", "net"}},
		{&k.sockNet, "sock", []string{"__sk_common", "skc_net", "net"}},
		{&k.inum, "net", []string{"ns", "inum"}},
	} {
		var s *btf.Struct
		if err := spec.TypeByName(f.typeName, &s); err != nil {
			return k, err
		}
		at, ok := offsetOf(s, f.path)
		if !ok {
			return k, fmt.Errorf("struct %s has no %v: %w", f.typeName, f.path, errors.ErrUnsupported)
		}
		*f.to = int16(at)
	}
	var reasons *btf.Enum
	if err := spec.TypeByName("skb_drop_reason", &reasons); err != nil {
		return k, fmt.Errorf("the kernel gives no reasons, as from Linux 5.17 on: %w", err)
	}
	k.reasons = map[uint32]string{}
	for _, v := range reasons.Values {
		k.reasons[uint32(v.Value)] = trimReason(v.Name)
	}
	return k, nil
}

func trimReason(name string) string {
	for _, prefix := range []string{"SKB_DROP_REASON_", "SKB_"} {
		if len(name) > len(prefix) && name[:len(prefix)] == prefix {
			return name[len(prefix):]
		}
	}
	return name
}

// offsetOf finds a field by its path, in bytes from the beginning, through
// structs and unions without a name.
func offsetOf(t btf.Type, path []string) (at uint32, ok bool) {
	var members []btf.Member
	switch c := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		members = c.Members
	case *btf.Union:
		members = c.Members
	}
	for _, m := range members {
		rest := path
		if m.Name != "" {
			if m.Name != path[0] {
				continue
			}
			if rest = path[1:]; len(rest) == 0 {
				return m.Offset.Bytes(), true
			}
		}
		if inner, ok := offsetOf(m.Type, rest); ok {
			return m.Offset.Bytes() + inner, true
		}
	}
	return 0, false
}

// program is what runs at each drop. Its arguments are those of the tracepoint:
// the packet, the place in the code, the reason.
func (k kernelTypes) program(ring int) asm.Instructions {
	const (
		event   = -dropEventSize // on the stack
		scratch = event - 8
	)
	read := func(to int32, size int32, from asm.Register, offset int16) asm.Instructions {
		return asm.Instructions{
			asm.Mov.Reg(asm.R1, asm.RFP), asm.Add.Imm(asm.R1, to), asm.Mov.Imm(asm.R2, size),
			asm.Mov.Reg(asm.R3, from), asm.Add.Imm(asm.R3, int32(offset)), asm.FnProbeReadKernel.Call(),
		}
	}
	pointer := func(to, from asm.Register, offset int16) asm.Instructions {
		return append(read(scratch, 8, from, offset), asm.LoadMem(to, asm.RFP, scratch, asm.DWord))
	}
	p := asm.Instructions{asm.Mov.Reg(asm.R6, asm.R1), asm.LoadMem(asm.R7, asm.R6, 0, asm.DWord), asm.Mov.Imm(asm.R1, 0)}
	for at := int16(scratch); at < 0; at += 8 {
		p = append(p, asm.StoreMem(asm.RFP, at, asm.R1, asm.DWord))
	}
	p = append(p, read(scratch, 2, asm.R7, k.protocol)...)
	p = append(p,
		asm.LoadMem(asm.R1, asm.RFP, scratch, asm.Half),
		asm.JEq.Imm(asm.R1, int32(binary.NativeEndian.Uint16(networkOrder(unix.ETH_P_IP))), "ip"),
		asm.JNE.Imm(asm.R1, int32(binary.NativeEndian.Uint16(networkOrder(unix.ETH_P_IPV6))), "out"),
		asm.LoadMem(asm.R1, asm.R6, 8, asm.DWord).WithSymbol("ip"), asm.StoreMem(asm.RFP, event+dropLocationAt, asm.R1, asm.DWord),
		asm.LoadMem(asm.R1, asm.R6, 16, asm.DWord), asm.StoreMem(asm.RFP, event+dropReasonAt, asm.R1, asm.Word))
	p = append(p, pointer(asm.R8, asm.R7, k.head)...)
	p = append(p, read(scratch, 2, asm.R7, k.networkHeader)...)
	p = append(p, asm.LoadMem(asm.R1, asm.RFP, scratch, asm.Half), asm.Add.Reg(asm.R8, asm.R1))
	p = append(p, read(event+dropPacketAt, dropPacketSize, asm.R8, 0)...)
	p = append(p, pointer(asm.R8, asm.R7, k.dev)...)
	p = append(p, asm.JEq.Imm(asm.R8, 0, "socket"))
	p = append(p, read(event+dropLinkAt, 4, asm.R8, k.ifindex)...)
	p = append(p, pointer(asm.R9, asm.R8, k.devNet)...)
	p = append(p, asm.Ja.Label("net"))
	socket := pointer(asm.R8, asm.R7, k.sk)
	socket[0] = socket[0].WithSymbol("socket")
	p = append(p, socket...)
	p = append(p, asm.JEq.Imm(asm.R8, 0, "tell"))
	p = append(p, pointer(asm.R9, asm.R8, k.sockNet)...)
	net := read(event+dropNetnsAt, 4, asm.R9, k.inum)
	net[0] = net[0].WithSymbol("net")
	p = append(p, net...)
	return append(p,
		asm.LoadMapPtr(asm.R1, ring).WithSymbol("tell"), asm.Mov.Reg(asm.R2, asm.RFP), asm.Add.Imm(asm.R2, event),
		asm.Mov.Imm(asm.R3, dropEventSize), asm.Mov.Imm(asm.R4, 0), asm.FnRingbufOutput.Call(),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("out"), asm.Return())
}
