"""Names days and moments as people do."""

import datetime


def day_of(moment: float, now: float) -> str:
    """The heading for a time, both in seconds since 1970: today, yesterday, the week before, then by month."""
    day, today = datetime.date.fromtimestamp(moment), datetime.date.fromtimestamp(now)
    match (today - day).days:
        case days if days <= 0:
            return "Today"
        case 1:
            return "Yesterday"
        case days if days < 7:
            return "Last 7 days"
    return f"{day:%B %Y}"


def moment(at: float) -> str:
    """A moment in seconds since 1970, as "Thursday, 26 November 2026, 14:05"."""
    when = datetime.datetime.fromtimestamp(at)
    return f"{when:%A}, {when.day} {when:%B %Y, %H:%M}"


def time_of(moment: float, now: float) -> str:
    """A time as short as it says enough: the hour today and yesterday, the weekday, the date; seconds since 1970."""
    then, today = datetime.datetime.fromtimestamp(moment), datetime.date.fromtimestamp(now)
    match (today - then.date()).days:
        case days if days <= 1:
            return f"{then:%H:%M}"
        case days if days < 7:
            return f"{then:%a}"
    return f"{then.day} {then:%b}" + (f" {then.year}" if then.year != today.year else "")
