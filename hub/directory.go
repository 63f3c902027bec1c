package hub

import (
	"slices"
	"strings"
	"sync"
	"sync/atomic"
)

// A Directory maps users to their live sessions and servers to the sinks that lead
// to them.
//
// The zero value is empty and ready. Its methods may be called from many goroutines.
type Directory struct {
	mu      sync.RWMutex
	users   map[UserName]*user
	servers atomic.Pointer[servers]
}

// A user holds the sessions of one user name. A route keeps a pointer to it, so that
// a delivery needs no look-up.
type user struct {
	name     UserName
	pins     int                    // how often routes name it; not deleted until it is 0. Under Directory.mu
	sessions atomic.Pointer[[]Sink] // in the order they joined; copy on write
}

type servers struct {
	named     map[ServerName]Sink
	byAddress Sink
}

// Join adds a session of the user. The sink gets what is sent to that name until
// leave is called, which is safe to call more than once.
func (d *Directory) Join(name UserName, s Sink) (leave func()) {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.userLocked(name)
	sessions := append(slices.Clone(u.liveSessions()), s)
	u.sessions.Store(&sessions)
	return sync.OnceFunc(func() { d.leave(u, s) })
}

func (d *Directory) leave(u *user, s Sink) {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := u.liveSessions()
	sessions := make([]Sink, 0, len(old))
	for _, have := range old {
		if have != s {
			sessions = append(sessions, have)
		}
	}
	u.sessions.Store(&sessions)
	d.deleteIfUnused(u)
}

// Sessions returns the live sessions of the user, in the order they joined. The
// slice is never changed; the caller must not change it either.
func (d *Directory) Sessions(name UserName) []Sink {
	d.mu.RLock()
	defer d.mu.RUnlock()
	return d.users[name].liveSessions()
}

// Users lists the users with live sessions in alphabetical order, each name once
// for each of its sessions.
func (d *Directory) Users() []UserName {
	d.mu.RLock()
	defer d.mu.RUnlock()
	var names []UserName
	for name, u := range d.users {
		for range u.liveSessions() {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// SetServers replaces all servers: the sinks of the configured names, and byAddress,
// which takes the messages to any host:port (nil if they are not allowed). Message.To
// then holds exactly one address, that of the server.
func (d *Directory) SetServers(named map[ServerName]Sink, byAddress Sink) {
	d.servers.Store(&servers{named, byAddress})
}

// Server returns the sink that leads to the server, or nil.
func (d *Directory) Server(name ServerName) Sink {
	s := d.servers.Load()
	if s == nil {
		return nil
	}
	if sink, ok := s.named[name]; ok {
		return sink
	}
	if strings.Contains(string(name), ":") {
		return s.byAddress
	}
	return nil
}

// pin returns the user for a route, and keeps the entry in the directory until unpin.
func (d *Directory) pin(name UserName) *user {
	d.mu.Lock()
	defer d.mu.Unlock()
	u := d.userLocked(name)
	u.pins++
	return u
}

// unpin undoes one pin of each of the users.
func (d *Directory) unpin(users []*user) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, u := range users {
		u.pins--
		d.deleteIfUnused(u)
	}
}

func (d *Directory) deleteIfUnused(u *user) {
	if u.pins == 0 && len(u.liveSessions()) == 0 && d.users[u.name] == u {
		delete(d.users, u.name)
	}
}

func (d *Directory) userLocked(name UserName) *user {
	u := d.users[name]
	if u == nil {
		u = &user{name: name}
		if d.users == nil {
			d.users = make(map[UserName]*user)
		}
		d.users[name] = u
	}
	return u
}

func (u *user) liveSessions() []Sink {
	if u == nil {
		return nil
	}
	if p := u.sessions.Load(); p != nil {
		return *p
	}
	return nil
}
