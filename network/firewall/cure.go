package firewall

import (
	"fmt"
	"strings"
)

// cure are the commands that let the sample pass where the verdict stopped it,
// in the owner's own words where he has some: a rule put in by other means would
// be gone with his next reload.
func cure(v Verdict, s sample, bridge string) []string {
	switch v.owner() {
	case "ufw":
		return cureUFW(s.aim, bridge)
	case "firewalld":
		return []string{
			"firewall-cmd --zone=trusted --add-interface=" + bridge,
			"firewall-cmd --permanent --zone=trusted --add-interface=" + bridge,
		}
	}
	if !isIPTables(v.Family, v.Table, v.Base) {
		return cureNFT(v, s.aim, bridge)
	}
	return cureIPTables(v, s.aim, bridge)
}

func cureUFW(a aim, bridge string) []string {
	switch a {
	case published:
		return []string{"ufw route allow out on " + bridge}
	case names:
		return []string{"ufw allow in on " + bridge + " to any port 53"}
	}
	return []string{"ufw route allow in on " + bridge}
}

// cureIPTables puts rules in front of the chain, or into DOCKER-USER: Docker
// keeps that one first, and moves its own rules before any other of FORWARD.
// What comes to the bridge unasked and is not published, our own table drops.
func cureIPTables(v Verdict, a aim, bridge string) []string {
	program := map[string]string{"ip": "iptables", "ip6": "ip6tables"}[v.Family]
	chain := v.Base
	for _, target := range v.base.targets() {
		if target == "DOCKER-USER" {
			chain = target
		}
	}
	if v.Table != "filter" {
		program += " -t " + v.Table
	}
	insert := func(match string) string { return fmt.Sprintf("%s -I %s %s -j ACCEPT", program, chain, match) }
	switch a {
	case names:
		return []string{insert(direction(v, "-i ", "-o ") + bridge + " -p udp " + portWord(v) + " 53"), insert(direction(v, "-i ", "-o ") + bridge + " -p tcp " + portWord(v) + " 53")}
	case published:
		return []string{insert("-o " + bridge + " -m conntrack --ctstate DNAT")}
	case bridged:
		return []string{insert("-i " + bridge)}
	}
	return []string{insert("-i " + bridge), insert("-o " + bridge + " -m conntrack --ctstate RELATED,ESTABLISHED")}
}

func direction(v Verdict, in, out string) string {
	if v.base.hook == Output {
		return out
	}
	return in
}

func portWord(v Verdict) string { return direction(v, "--dport", "--sport") }

// cureNFT puts rules at the front of the base chain.
func cureNFT(v Verdict, a aim, bridge string) []string {
	insert := func(rule string) string {
		return strings.Join([]string{"nft insert rule", v.Family, v.Table, v.Base, rule, "accept"}, " ")
	}
	switch a {
	case names:
		end := direction(v, "dport 53", "sport 53")
		link := direction(v, "iifname ", "oifname ") + bridge
		return []string{insert(link + " udp " + end), insert(link + " tcp " + end)}
	case published:
		return []string{insert("oifname " + bridge + " ct status dnat")}
	case bridged:
		return []string{insert("iifname " + bridge)}
	}
	return []string{insert("iifname " + bridge), insert("oifname " + bridge + " ct state established,related")}
}
