package daemon

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"traverse.internal/config"
	"traverse.internal/internal/cli"
	"traverse.internal/service"
)

// maxGrants bounds what one invitation gives.
const maxGrants = 16

// A grant is what an invitation gives to whoever joins by it, as `invite --allow` takes it: forward:NAME[=ADDR], files:SIZE or listen.
type grant struct {
	service, addr string // forward: a service that is exposed, or with an address one that is from then on
	key, value    string // else: of the contact's policy
}

func parseGrant(text string) (grant, error) {
	kind, rest, _ := strings.Cut(text, ":")
	switch kind {
	case "forward":
		name, addr, with := strings.Cut(rest, "=")
		if err := service.CheckName(name); err != nil {
			return grant{}, err
		}
		if _, err := service.ParseTarget(addr); with && err != nil {
			return grant{}, err
		}
		return grant{service: name, addr: addr}, nil
	case "files":
		if _, err := config.ParseSize(rest); err != nil {
			return grant{}, err
		}
		return grant{key: "auto-accept", value: rest}, nil
	case "listen":
		if rest == "" {
			return grant{key: "listen", value: "on"}, nil
		}
	}
	return grant{}, errors.New("it is forward:SERVICE, forward:SERVICE=HOST:PORT, files:SIZE or listen")
}

// checkGrants says what is wrong with what an invitation is to give.
func (d *Daemon) checkGrants(texts []string) error {
	if len(texts) > maxGrants {
		return cli.Errorf("E_USAGE", "an invitation gives %d things at most", maxGrants)
	}
	for _, text := range texts {
		g, err := parseGrant(text)
		if err != nil {
			return cli.Errorf("E_USAGE", "%q cannot be allowed by an invitation", text).Because(err).Hint("node invite -h")
		}
		if g.service == "" {
			continue
		}
		there, err := d.serviceNamed(g.service)
		target, _ := service.ParseTarget(g.addr)
		switch {
		case err != nil && g.addr == "":
			return cli.Errorf("E_USAGE", "no service %q is exposed, so that nobody can be let in to it", g.service).
				Hint("expose it to somebody: node expose %s HOST:PORT --to NAME", g.service).Hint("or to whoever joins alone: --allow forward:%s=HOST:PORT", g.service)
		case err == nil && g.addr != "" && there.Addr != target.String():
			return cli.Errorf("E_USAGE", "the service %q is exposed already, as %s", g.service, there.Addr).Hint("--allow forward:%s", g.service)
		}
	}
	return nil
}

// give lets a contact have what its invitation said. What cannot be given any more is told in the log: the contact is one all the same.
func (d *Daemon) give(c Contact, texts []string) Contact {
	for _, text := range texts {
		g, err := parseGrant(text)
		if err == nil {
			if g.service != "" {
				err = d.letIn(c, g)
			} else {
				_, err = d.contacts.Set(c.Name, map[string]string{g.key: g.value})
			}
		}
		if err != nil {
			d.log.Warn("a contact does not get what its invitation says", "peer", c.Name, "allow", text, "error", err)
		}
	}
	if now, err := d.contacts.Find(c.Name); err == nil {
		return now
	}
	return c
}

// letIn lets a contact reach a service besides those who may already. It holds after a restart where the service does.
func (d *Daemon) letIn(c Contact, g grant) error {
	id := c.party()
	if !d.services.Allow(g.service, id) {
		if g.addr == "" {
			return fmt.Errorf("no service %q is exposed", g.service)
		}
		_, err := d.Expose(ExposeRequest{Name: g.service, Addr: g.addr, To: []string{c.Name}, Save: true})
		return err
	}
	d.events.publish(Event{Type: EventService, What: "exposed " + g.service + " to " + c.Name})
	kept, _ := d.saved.list()
	i := slices.IndexFunc(kept, func(e ExposeRequest) bool { return e.Name == g.service })
	if i < 0 || len(kept[i].To) == 0 || slices.Contains(kept[i].To, id.String()) {
		return nil
	}
	kept[i].To = append(slices.Clone(kept[i].To), id.String())
	return d.saved.keepService(g.service, true, kept[i])
}
