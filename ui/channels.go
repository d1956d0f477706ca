package ui

import (
	"cmp"
	"errors"
	"net/http"
	"net/url"
	"strings"
	"time"

	"lar.home/ui/view"
)

var errNoChannel = &failure{http.StatusNotFound, "There is no such channel", "It may have been removed."}

// recently is how long the owner is told on every page of what was given up.
const recently = 24 * time.Hour

// unsent says what could not be sent, for the owner.
func unsent(o Outbox, now time.Time) []view.Trouble {
	n := 0
	for _, g := range o.GivenUp {
		if now.Sub(g.At) < recently {
			n++
		}
	}
	if n == 0 {
		return nil
	}
	return []view.Trouble{{Title: view.NotSent(n), Text: "The last one: " + o.GivenUp[0].What + ". The reason: " + o.GivenUp[0].Why + ". The page Notifications in the settings says more."}}
}

func (s *Server) channel(r *http.Request) (Channel, error) {
	for _, c := range s.Settings.Channels() {
		if c.Name == r.PathValue("name") {
			return c, nil
		}
	}
	return Channel{}, errNoChannel
}

func (s *Server) showChannels(w http.ResponseWriter, r *http.Request) error {
	return s.channels(w, r, http.StatusOK, view.Form{Values: url.Values{}})
}

func (s *Server) channels(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	var v view.Channels
	for _, c := range s.Settings.Channels() {
		v.List = append(v.List, view.Channel{Name: c.Name, Kind: string(c.Kind), Where: cmp.Or(c.URL, c.To)})
	}
	if s.Sender != nil {
		st := s.Sender.State()
		for _, u := range st.Waiting {
			v.Waiting = append(v.Waiting, view.Unsent(u))
		}
		for _, g := range st.GivenUp {
			v.GivenUp = append(v.GivenUp, view.GivenUp(g))
		}
	}
	return s.render(w, r, status, view.ChannelsPage(s.page(r, "Notifications", "settings"), v, f))
}

// addChannel goes on to the page of a new channel of the kind that was chosen.
func (s *Server) addChannel(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	name := strings.TrimSpace(f.Value("name"))
	r.SetPathValue("name", name)
	if _, err := s.channel(r); err == nil {
		f.Errors["name"] = "There is a channel of that name."
	}
	c := Channel{Name: name, Kind: ChannelKind(f.Value("kind"))}
	if len(f.Errors) == 0 {
		c = readChannel(f, Channel{Name: name})
		ok, err := s.setChannel(r, f, c)
		if err != nil {
			return err
		}
		if ok {
			return s.done(w, r, "/settings/channels", "Saved. Automations can notify “"+name+"”.", false)
		}
		if r.PostForm.Get("step") == "" && f.Errors["name"] == "" { // only name and kind were asked for yet
			f.Errors = map[string]string{}
			return s.channelPage(w, r, http.StatusOK, c, f, true)
		}
	}
	if f.Errors["name"] != "" && r.PostForm.Get("step") == "" {
		return s.channels(w, r, http.StatusUnprocessableEntity, f)
	}
	return s.channelPage(w, r, http.StatusUnprocessableEntity, c, f, true)
}

// setChannel stores a channel, or notes in the form what is wrong with it.
func (s *Server) setChannel(r *http.Request, f view.Form, c Channel) (ok bool, err error) {
	err = s.Settings.SetChannel(r.Context(), c)
	if wrong, is := errors.AsType[*SettingError](err); is {
		f.Errors[wrong.Field] = wrong.Text
		return false, nil
	}
	if err == nil && s.Sender != nil {
		s.Sender.Poke()
	}
	return err == nil, err
}

// readChannel reads the fields of a channel. A secret that is left empty stays
// what it was, as long as it goes to the same place.
func readChannel(f view.Form, was Channel) Channel {
	c := Channel{
		Name: was.Name, Kind: ChannelKind(f.Value("kind")), URL: strings.TrimSpace(f.Value("url")), Token: strings.TrimSpace(f.Value("token")),
		Server: strings.TrimSpace(f.Value("server")), Security: Security(f.Value("security")), User: strings.TrimSpace(f.Value("user")), Password: f.Value("password"),
		From: strings.TrimSpace(f.Value("from")), To: strings.TrimSpace(f.Value("to")),
	}
	if c.Token == "" && c.URL == was.URL {
		c.Token = was.Token
	}
	if c.Password == "" && c.Server == was.Server && c.User == was.User {
		c.Password = was.Password
	}
	return c
}

func (s *Server) showChannel(w http.ResponseWriter, r *http.Request) error {
	c, err := s.channel(r)
	if err != nil {
		return err
	}
	f := view.Form{Values: url.Values{
		"kind": {string(c.Kind)}, "url": {c.URL}, "server": {c.Server}, "security": {string(c.Security)}, "user": {c.User}, "from": {c.From}, "to": {c.To},
	}, Errors: map[string]string{}}
	return s.channelPage(w, r, http.StatusOK, c, f, false)
}

func (s *Server) channelPage(w http.ResponseWriter, r *http.Request, status int, c Channel, f view.Form, fresh bool) error {
	v := view.Channel{Name: c.Name, Kind: string(c.Kind), New: fresh, HasToken: c.Token != "", HasPassword: c.Password != ""}
	return s.render(w, r, status, view.ChannelPage(s.page(r, "Channel "+c.Name, "settings"), v, f))
}

func (s *Server) editChannel(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	was, err := s.channel(r)
	if err != nil {
		return err
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	f.Values.Set("kind", string(was.Kind))
	ok, err := s.setChannel(r, f, readChannel(f, was))
	if err != nil {
		return err
	}
	if !ok {
		return s.channelPage(w, r, http.StatusUnprocessableEntity, was, f, false)
	}
	return s.done(w, r, "/settings/channels", "Saved.", false)
}

func (s *Server) removeChannel(w http.ResponseWriter, r *http.Request) error {
	name := r.PathValue("name")
	if _, err := s.channel(r); err != nil {
		return err
	}
	if err := s.Settings.RemoveChannel(r.Context(), name); err != nil {
		return err
	}
	return s.done(w, r, "/settings/channels", "The channel "+name+" was removed.", false)
}

func (s *Server) tryChannel(w http.ResponseWriter, r *http.Request) error {
	c, err := s.channel(r)
	if err != nil {
		return err
	}
	if s.Sender == nil {
		return errNoChannel
	}
	if err := s.Sender.Try(r.Context(), c.Name, "A try from "+s.People.Home()+": notifications arrive here."); err != nil {
		return s.done(w, r, "/settings/channels", "Not sent: "+err.Error()+".", true)
	}
	return s.done(w, r, "/settings/channels", "Sent. Look whether it has arrived.", false)
}
