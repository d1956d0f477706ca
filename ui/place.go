package ui

import (
	"errors"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"lar.home/ui/view"
)

// askPlace lets a page ask the browser where it is, when somebody presses the
// button for it.
func askPlace(w http.ResponseWriter) {
	w.Header().Set("Permissions-Policy", "camera=(), geolocation=(self), microphone=()")
}

// placeForm fills a form with a place.
func placeForm(p Place) view.Form {
	f := view.Form{Values: url.Values{}, Errors: map[string]string{}}
	if p.Known {
		f.Values.Set("latitude", degrees(p.Latitude))
		f.Values.Set("longitude", degrees(p.Longitude))
	}
	f.Values.Set("zone", p.Zone)
	return f
}

func degrees(d float64) string { return strconv.FormatFloat(d, 'f', -1, 64) }

// readPlace reads a place out of a form. What is wrong is noted in it.
func readPlace(f view.Form, p *Place) (ok bool) {
	lat, lon := strings.TrimSpace(f.Value("latitude")), strings.TrimSpace(f.Value("longitude"))
	// "52.52, 13.405" is how maps let it be copied.
	if a, b, both := strings.Cut(lat, ", "); both && lon == "" {
		lat, lon = strings.TrimSpace(a), strings.TrimSpace(b)
	}
	read := func(field, text string, into *float64) {
		d, err := strconv.ParseFloat(strings.Replace(text, ",", ".", 1), 64)
		if err != nil || d != d {
			f.Errors[field] = "Give degrees, like 52.52."
		}
		*into = d
	}
	if p.Known = lat != "" || lon != ""; p.Known {
		read("latitude", lat, &p.Latitude)
		read("longitude", lon, &p.Longitude)
	}
	p.Zone = strings.TrimSpace(f.Value("zone"))
	return len(f.Errors) == 0
}

// setPlace stores what a form says of the place. ok is false when there is
// something wrong with it, which is then noted in the form.
func (s *Server) setPlace(r *http.Request, f view.Form) (ok bool, err error) {
	p := s.Settings.Place()
	was := p
	if !readPlace(f, &p) {
		return false, nil
	}
	if p == was {
		return true, nil
	}
	err = s.Settings.SetPlace(r.Context(), p)
	if wrong, is := errors.AsType[*SettingError](err); is {
		f.Errors[wrong.Field] = wrong.Text
		return false, nil
	}
	return true, err
}

func (s *Server) showPlace(w http.ResponseWriter, r *http.Request) error {
	return s.placePage(w, r, http.StatusOK, placeForm(s.Settings.Place()))
}

func (s *Server) placePage(w http.ResponseWriter, r *http.Request, status int, f view.Form) error {
	askPlace(w)
	p := s.Settings.Place()
	v := view.Place{FixedPosition: p.FixedPosition, FixedZone: p.FixedZone, Zone: s.Settings.Location().String()}
	return s.render(w, r, status, view.PlacePage(s.page(r, "Where the home is", "settings"), v, f))
}

func (s *Server) editPlace(w http.ResponseWriter, r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return readError(err)
	}
	f := view.Form{Values: r.PostForm, Errors: map[string]string{}}
	p := s.Settings.Place()
	if p.FixedPosition { // disabled fields are not sent
		f.Values.Set("latitude", degrees(p.Latitude))
		f.Values.Set("longitude", degrees(p.Longitude))
	}
	if p.FixedZone {
		f.Values.Set("zone", p.Zone)
	}
	ok, err := s.setPlace(r, f)
	if err != nil {
		return err
	}
	if !ok {
		return s.placePage(w, r, http.StatusUnprocessableEntity, f)
	}
	return s.done(w, r, "/settings", "Saved.", false)
}

// placeWords says where the home is, in a line.
func (s *Server) placeWords() string {
	p := s.Settings.Place()
	zone := "Time zone " + s.Settings.Location().String()
	if p.Zone == "" {
		zone = "Time zone of the machine"
	}
	if !p.Known {
		return "Position not set. " + zone + "."
	}
	return degrees(p.Latitude) + ", " + degrees(p.Longitude) + ". " + zone + "."
}
