package server

import (
	"encoding/binary"
	"errors"
	"net/netip"
	"strings"

	"golang.org/x/net/dns/dnsmessage"
)

const (
	headerBytes = 12
	minUDP      = 512  // what every resolver takes by UDP, RFC 1035, 4.2.1
	maxUDP      = 4096 // what we take
	maxTCP      = 1<<16 - 1
	maxQuestion = 4096 // nobody asks with more
)

// ttl is how long an address may be remembered, in seconds. A container that was
// started again may have another one, and to ask again costs 0.1 ms; so it is short,
// as CoreDNS has it for the services of Kubernetes. Docker says 600.
const ttl = 5

// A query is a question that can be answered.
type query struct {
	packet   []byte // as it came
	header   dnsmessage.Header
	question dnsmessage.Question // none when the packet had none that is legible
	edns     bool
	version  uint8 // of EDNS
	limit    int   // bytes that the answer may have
}

// errNoQuery says that a packet is to be passed over.
var errNoQuery = errors.New("not a query")

// parse reads a packet. Its error is an RCode when there is something to be answered.
func parse(packet []byte, limit int) (query, error) {
	q := query{packet: packet, limit: limit}
	var p dnsmessage.Parser
	var err error
	if q.header, err = p.Start(packet); err != nil || q.header.Response {
		return q, errNoQuery
	}
	if q.header.OpCode != 0 {
		return q, codeError(dnsmessage.RCodeNotImplemented)
	}
	if count := binary.BigEndian.Uint16(packet[4:]); count != 1 {
		return q, codeError(dnsmessage.RCodeFormatError)
	}
	question, err := p.Question()
	if err != nil {
		return q, codeError(dnsmessage.RCodeFormatError)
	}
	q.question = question
	if err := q.parseEDNS(&p); err != nil {
		return q, codeError(dnsmessage.RCodeFormatError)
	}
	if q.version > 0 {
		return q, codeError(badVersion)
	}
	return q, nil
}

// badVersion is BADVERS, RFC 6891, 9.
const badVersion dnsmessage.RCode = 16

// A codeError is a question that is answered with an error.
type codeError dnsmessage.RCode

func (e codeError) Error() string { return dnsmessage.RCode(e).String() }

var errTwoOPT = errors.New("two OPT records") // RFC 6891, 6.1.1

// parseEDNS looks for the record that says what the asker can take.
func (q *query) parseEDNS(p *dnsmessage.Parser) error {
	if err := errors.Join(p.SkipAllQuestions(), p.SkipAllAnswers(), p.SkipAllAuthorities()); err != nil {
		return err
	}
	udp := q.limit < maxTCP
	for {
		h, err := p.AdditionalHeader()
		if errors.Is(err, dnsmessage.ErrSectionDone) {
			return nil
		}
		if err != nil {
			return err
		}
		if h.Type == dnsmessage.TypeOPT {
			if q.edns {
				return errTwoOPT
			}
			q.edns = true
			q.version = uint8(h.TTL >> 16)
			if udp {
				q.limit = min(max(int(h.Class), minUDP), maxUDP)
			}
		}
		if err := p.SkipAdditional(); err != nil {
			return err
		}
	}
}

// answer packs what was found. Nil when it cannot be packed, which no name of a
// record makes happen.
func (q query) answer(v verdict) []byte {
	per := 12 + 4 // a name of two bytes, by compression, type, class, ttl, length; the address
	if q.question.Type != dnsmessage.TypeA {
		per = 12 + 16
	}
	truncated := false
	if room := (q.limit - len(q.pack(v.code, false, nil, ""))) / per; len(v.addresses) > room {
		v.addresses, truncated = v.addresses[:room], true
	}
	return q.pack(v.code, truncated, v.addresses, v.name)
}

// fail packs an answer that is an error.
func (q query) fail(code dnsmessage.RCode) []byte { return q.pack(code, false, nil, "") }

// truncated packs the answer that says: ask by TCP.
func (q query) truncated() []byte { return q.pack(dnsmessage.RCodeSuccess, true, nil, "") }

func (q query) pack(code dnsmessage.RCode, truncated bool, addresses []netip.Addr, name string) []byte {
	b := dnsmessage.NewBuilder(nil, dnsmessage.Header{
		ID:                 q.header.ID,
		Response:           true,
		OpCode:             q.header.OpCode,
		Authoritative:      len(addresses) > 0 || name != "",
		Truncated:          truncated,
		RecursionDesired:   q.header.RecursionDesired,
		RecursionAvailable: true,
		RCode:              code & 15, // the rest is in the OPT record
	})
	b.EnableCompression()
	errs := []error{b.StartQuestions()}
	if q.question.Type != 0 {
		errs = append(errs, b.Question(q.question))
	}
	errs = append(errs, b.StartAnswers())
	h := dnsmessage.ResourceHeader{Name: q.question.Name, Class: dnsmessage.ClassINET, TTL: ttl}
	for _, a := range addresses {
		if a.Is4() {
			errs = append(errs, b.AResource(h, dnsmessage.AResource{A: a.As4()}))
		} else {
			errs = append(errs, b.AAAAResource(h, dnsmessage.AAAAResource{AAAA: a.As16()}))
		}
	}
	if name != "" {
		target, err := dnsmessage.NewName(name)
		errs = append(errs, err, b.PTRResource(h, dnsmessage.PTRResource{PTR: target}))
	}
	if q.edns {
		var opt dnsmessage.ResourceHeader
		errs = append(errs, b.StartAdditionals(), opt.SetEDNS0(maxUDP, code, false), b.OPTResource(opt, dnsmessage.OPTResource{}))
	}
	packet, err := b.Finish()
	if errors.Join(append(errs, err)...) != nil {
		return nil
	}
	return packet
}

// An opinion is what an answer of another server is worth.
type opinion int

const (
	foreign opinion = iota // it answers something else, or is forged
	useless                // SERVFAIL and the like: another server may know more
	final
)

// judge reads an answer to the query as it was sent, under the given id.
func (q query) judge(packet []byte, id uint16) opinion {
	var p dnsmessage.Parser
	h, err := p.Start(packet)
	if err != nil || !h.Response || h.ID != id || h.OpCode != q.header.OpCode {
		return foreign
	}
	failed := h.RCode != dnsmessage.RCodeSuccess && h.RCode != dnsmessage.RCodeNameError
	question, err := p.Question()
	if errors.Is(err, dnsmessage.ErrSectionDone) && failed {
		return useless // a server that did not even read the question
	}
	same := err == nil && question.Type == q.question.Type && question.Class == q.question.Class &&
		strings.EqualFold(question.Name.String(), q.question.Name.String())
	switch {
	case !same:
		return foreign
	case failed:
		return useless
	}
	return final
}
