package template

import (
	"testing"
	"time"
)

// TestTimes holds what Python's datetime and the time functions of Home
// Assistant give, at noon on 1 March 2026 in Berlin.
func TestTimes(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	clock := func() time.Time { return time.Date(2026, 3, 1, 12, 0, 0, 250_000_000, berlin) }
	for text, want := range map[string]string{
		`{{ now() }}`:                                                                           "2026-03-01 12:00:00.250000+01:00",
		`{{ utcnow().isoformat() }}`:                                                            "2026-03-01T11:00:00.250000+00:00",
		`{{ now().strftime('%Y-%m-%d %-H:%M') }}`:                                               "2026-03-01 12:00",
		`{{ now().strftime('%a %d %B, %j %p %z %%') }}`:                                         "Sun 01 March, 060 PM +0100 %",
		`{{ now().timestamp() | int }}`:                                                         "1772362800",
		`{{ now().year ~ '/' ~ now().month }}`:                                                  "2026/3",
		`{{ now().weekday() }} {{ now().isoweekday() }}`:                                        "6 7",
		`{{ (now() - timedelta(seconds=value|int)).isoformat() }}`:                              "2026-03-01T11:58:30.250000+01:00",
		`{{ now() - timedelta(days=1, hours=2) > today_at('09:30') }}`:                          "False",
		`{{ today_at('09:30') }}`:                                                               "2026-03-01 09:30:00+01:00",
		`{{ now().replace(hour=0, minute=0, second=0, microsecond=0) }}`:                        "2026-03-01 00:00:00+01:00",
		`{{ (now() - as_datetime('2026-02-28T10:00:00+00:00')).total_seconds() }}`:              "90000.25",
		`{{ now() - as_datetime('2026-02-28T10:00:00+00:00') }}`:                                "1 day, 1:00:00.250000",
		`{{ timedelta(minutes=-5) }}`:                                                           "-1 day, 23:55:00",
		`{{ timedelta(hours=3).seconds }}`:                                                      "10800",
		`{{ value | int | timestamp_utc }}`:                                                     "1970-01-01T00:01:30+00:00",
		`{{ value | int | timestamp_local }}`:                                                   "1970-01-01T01:01:30+01:00",
		`{{ value | int | timestamp_custom('%H:%M:%S') }}`:                                      "01:01:30",
		`{{ value | int | timestamp_custom('%H:%M:%S', false) }}`:                               "00:01:30",
		`{{ 'x' | timestamp_custom('%H', true, 'none') }}`:                                      "none",
		`{{ 'x' | timestamp_local('never') }}`:                                                  "never",
		`{{ as_timestamp('2026-03-01T11:00:00Z') }}`:                                            "1772362800.0",
		`{{ as_timestamp('2026-03-01 12:00:00') }}`:                                             "1772362800.0", // without a zone: the home's
		`{{ as_timestamp('soon', 0) }}`:                                                         "0",
		`{{ '2026-03-01 12:00:00' | as_datetime }}`:                                             "2026-03-01 12:00:00",
		`{{ 1772362800 | as_datetime }}`:                                                        "2026-03-01 11:00:00+00:00",
		`{{ 1772362800 | as_datetime | as_local }}`:                                             "2026-03-01 12:00:00+01:00",
		`{{ strptime('01.03.26 07:05', '%d.%m.%y %H:%M').isoformat() }}`:                        "2026-03-01T07:05:00",
		`{{ as_datetime('x') }}`:                                                                "None",
		`{{ 5 | timestamp_custom }}`:                                                            "1970-01-01 01:00:05",
		`{{ strptime('x', '%d', 'bad') }}`:                                                      "bad",
		`{{ as_timestamp(strptime('2026-03-01T11:00:00+0000', '%Y-%m-%dT%H:%M:%S%z')) | int }}`: "1772362800",
		`{{ as_datetime('2026-03-01') == strptime('2026-03-01', '%Y-%m-%d') }}`:                 "True",
		`{{ timedelta(hours=1) * 2 + timedelta(minutes=30) }}`:                                  "2:30:00",
		`{{ timedelta(hours=1) / timedelta(minutes=30) }}`:                                      "2.0",
		`{% if now().hour >= 6 and timedelta(0) %}a{% else %}b{% endif %}`:                      "b",
	} {
		c, err := CompileWith(clock, text)
		if err != nil {
			t.Errorf("%s: %v", text, err)
			continue
		}
		if got, err := c.Render(&Input{Value: FromString("90")}); err != nil || got != want {
			t.Errorf("%s is %q %v, want %q", text, got, err, want)
		}
	}
	for _, text := range []string{
		`{{ now() + now() }}`, `{{ now() - as_datetime('2026-03-01') }}`, `{{ now() < 5 }}`, `{{ as_timestamp('x') }}`,
		`{{ strptime('x', '%d') }}`, `{{ strptime('x', '%Q') }}`, `{{ now().strftime('%Q') }}`, `{{ timedelta(days='x') }}`, `{{ now().replace(hour=-1) }}`,
		`{{ as_datetime(1e300) }}`, `{{ as_datetime(1e15) }}`, `{{ timedelta(days=1e300) }}`, `{{ now() + timedelta(days=9e6) }}`, `{{ now() | tojson }}`,
		`{{ now().nothing.more }}`, `{{ 'a'.strftime('%d') }}`, `{{ 5 | timestamp_custom(5) }}`, `{{ as_datetime([]) }}`, `{{ timedelta(1) / timedelta(0) }}`, `{{ today_at('25:00') }}`,
		`{{ now()[0].x }}`, `{{ -now() }}`, `{{ now() in now() }}`, `{{ [now()] | sum }}`, `{{ [now(), 1] | sort }}`, `{{ {now(): 1} }}`,
	} {
		c, err := CompileWith(clock, text)
		if err != nil {
			continue
		}
		if got, err := c.Render(&Input{}); err == nil {
			t.Errorf("%s is %q, want an error", text, got)
		}
	}
	if c, err := Compile(`{{ now() }}`); err != nil {
		t.Error(err)
	} else if got, err := c.Render(&Input{}); err == nil {
		t.Errorf("without a clock it is %q", got)
	}
}
