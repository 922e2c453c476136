//! Area codes of the countries that have several time zones and number by area, by zone.

/// A zone, and the area codes that are in it.
pub(super) type Area = (&'static str, &'static [&'static str]);

/// +1: the North American Numbering Plan, by state, province or island. Toll-free and non-geographic codes are not here.
pub(super) const NORTH_AMERICA: &[Area] = &[
    (
        "America/New_York",
        &[
            "203", "475", "860", "959", "302", "202", "771", "239", "305", "321", "324", "352", "386", "407",
            "561", "645", "656", "689", "727", "728", "754", "772", "786", "813", "863", "904", "941", "954",
            "229", "404", "470", "478", "678", "706", "762", "770", "912", "943", "502", "606", "859", "207",
            "227", "240", "301", "410", "443", "667", "339", "351", "413", "508", "617", "774", "781", "857",
            "978", "603", "201", "551", "609", "640", "732", "848", "856", "862", "908", "973", "212", "315",
            "329", "332", "347", "363", "516", "518", "585", "607", "624", "631", "646", "680", "716", "718",
            "838", "845", "914", "917", "929", "934", "252", "336", "472", "704", "743", "828", "910", "919",
            "980", "984", "216", "220", "234", "283", "326", "330", "380", "419", "436", "440", "513", "567",
            "614", "740", "937", "215", "223", "267", "272", "412", "445", "484", "570", "582", "610", "717",
            "724", "814", "835", "878", "401", "803", "821", "839", "843", "854", "864", "423", "865", "802",
            "276", "434", "540", "571", "686", "703", "757", "804", "826", "948", "304", "681",
        ],
    ),
    (
        "America/Detroit",
        &[
            "231", "248", "269", "313", "517", "586", "616", "679", "734", "810", "906", "947", "989",
        ],
    ),
    (
        "America/Indiana/Indianapolis",
        &["260", "317", "463", "574", "765", "812", "930"],
    ),
    (
        "America/Chicago",
        &[
            "219", "270", "364", "448", "850", "615", "629", "731", "901", "931", "205", "251", "256", "334",
            "483", "659", "938", "327", "479", "501", "870", "217", "224", "309", "312", "331", "447", "464",
            "618", "630", "708", "730", "773", "779", "815", "847", "861", "872", "319", "515", "563", "641",
            "712", "316", "620", "785", "913", "225", "318", "337", "457", "504", "985", "218", "320", "507",
            "612", "651", "763", "924", "952", "228", "471", "601", "662", "769", "235", "314", "417", "557",
            "573", "636", "660", "816", "975", "308", "402", "531", "701", "405", "539", "572", "580", "918",
            "605", "210", "214", "254", "281", "325", "346", "361", "409", "430", "432", "469", "512", "621",
            "682", "713", "726", "737", "806", "817", "830", "832", "903", "936", "940", "945", "956", "972",
            "979", "262", "274", "353", "414", "534", "608", "715", "920",
        ],
    ),
    (
        "America/Denver",
        &[
            "303", "719", "720", "748", "970", "983", "406", "505", "575", "385", "435", "801", "307", "915",
        ],
    ),
    ("America/Boise", &["208", "986"]),
    ("America/Phoenix", &["480", "520", "602", "623", "928"]),
    (
        "America/Los_Angeles",
        &[
            "209", "213", "279", "310", "323", "341", "350", "357", "369", "408", "415", "424", "442", "510",
            "530", "559", "562", "619", "626", "628", "650", "657", "661", "669", "707", "714", "738", "747",
            "760", "805", "818", "820", "831", "837", "840", "858", "909", "916", "925", "949", "951", "702",
            "725", "775", "458", "503", "541", "971", "206", "253", "360", "425", "509", "564",
        ],
    ),
    ("America/Anchorage", &["907"]),
    ("Pacific/Honolulu", &["808"]),
    ("America/Puerto_Rico", &["787", "939"]),
    ("America/St_Thomas", &["340"]),
    ("Pacific/Guam", &["671"]),
    ("Pacific/Saipan", &["670"]),
    ("Pacific/Pago_Pago", &["684"]),
    ("America/St_Johns", &["709", "879"]),
    ("America/Halifax", &["902", "782"]),
    ("America/Moncton", &["506", "428"]),
    (
        "America/Toronto",
        &[
            "418", "438", "450", "514", "579", "581", "819", "873", "367", "468", "354", "263", "226", "249",
            "289", "343", "365", "382", "387", "416", "437", "519", "548", "613", "647", "683", "705", "742",
            "753", "807", "905", "942",
        ],
    ),
    ("America/Winnipeg", &["204", "431", "584"]),
    ("America/Regina", &["306", "474", "639"]),
    ("America/Edmonton", &["403", "587", "780", "825", "368", "867"]),
    ("America/Vancouver", &["236", "250", "257", "604", "672", "778"]),
    ("America/Nassau", &["242"]),
    ("America/Barbados", &["246"]),
    ("America/Anguilla", &["264"]),
    ("America/Antigua", &["268"]),
    ("America/Tortola", &["284"]),
    ("America/Cayman", &["345"]),
    ("Atlantic/Bermuda", &["441"]),
    ("America/Grenada", &["473"]),
    ("America/Grand_Turk", &["649"]),
    ("America/Jamaica", &["658", "876"]),
    ("America/Montserrat", &["664"]),
    ("America/Lower_Princes", &["721"]),
    ("America/St_Lucia", &["758"]),
    ("America/Dominica", &["767"]),
    ("America/St_Vincent", &["784"]),
    ("America/Santo_Domingo", &["809", "829", "849"]),
    ("America/Port_of_Spain", &["868"]),
    ("America/St_Kitts", &["869"]),
];

/// +7: Russia by ABC code, and Kazakhstan, whose numbers begin with 6 or 7. Mobile numbers (9) say nothing of the place.
pub(super) const RUSSIA: &[Area] = &[
    ("Asia/Almaty", &["6", "7"]),
    ("Europe/Kaliningrad", &["401"]),
    ("Asia/Yakutsk", &["411", "416"]),
    ("Asia/Magadan", &["413"]),
    ("Asia/Kamchatka", &["415"]),
    ("Asia/Vladivostok", &["421", "423", "426"]),
    ("Asia/Sakhalin", &["424"]),
    ("Asia/Anadyr", &["427"]),
    ("Asia/Irkutsk", &["301", "395"]),
    ("Asia/Chita", &["302"]),
    ("Europe/Samara", &["341", "846", "848"]),
    (
        "Asia/Yekaterinburg",
        &["342", "343", "345", "346", "347", "349", "351", "352", "353"],
    ),
    ("Asia/Omsk", &["381"]),
    ("Asia/Tomsk", &["382"]),
    ("Asia/Novosibirsk", &["383"]),
    ("Asia/Novokuznetsk", &["384"]),
    ("Asia/Barnaul", &["385", "388"]),
    ("Asia/Krasnoyarsk", &["390", "391", "394"]),
    ("Europe/Saratov", &["845"]),
    ("Europe/Ulyanovsk", &["842"]),
    ("Europe/Volgograd", &["844"]),
    ("Europe/Astrakhan", &["851"]),
];

/// +55: Brazil by DDD, those that do not keep São Paulo's time or its history.
pub(super) const BRAZIL: &[Area] = &[
    ("America/Araguaina", &["63"]),
    ("America/Cuiaba", &["65", "66"]),
    ("America/Campo_Grande", &["67"]),
    ("America/Rio_Branco", &["68"]),
    ("America/Porto_Velho", &["69"]),
    ("America/Bahia", &["71", "73", "74", "75", "77"]),
    ("America/Maceio", &["79", "82"]),
    ("America/Recife", &["81", "87"]),
    (
        "America/Fortaleza",
        &["83", "84", "85", "86", "88", "89", "98", "99"],
    ),
    ("America/Belem", &["91", "94", "96"]),
    ("America/Santarem", &["93"]),
    ("America/Manaus", &["92", "97"]),
    ("America/Boa_Vista", &["95"]),
];

/// +52: Mexico by area code, those that do not keep the capital's time.
pub(super) const MEXICO: &[Area] = &[
    (
        "America/Hermosillo",
        &[
            "662", "644", "631", "622", "642", "637", "653", "633", "634", "645", "647", "651", "623", "641",
            "632", "638",
        ],
    ),
    (
        "America/Tijuana",
        &["664", "661", "665", "646", "686", "658", "616"],
    ),
    (
        "America/Mazatlan",
        &[
            "667", "668", "669", "672", "673", "687", "694", "695", "696", "697", "698", "612", "613", "615",
            "624", "311", "319", "323", "324", "325", "327", "389",
        ],
    ),
    (
        "America/Chihuahua",
        &[
            "614", "621", "625", "626", "627", "628", "629", "635", "636", "639", "648", "649", "652", "659",
        ],
    ),
    ("America/Ciudad_Juarez", &["656"]),
    ("America/Matamoros", &["867", "868", "899"]),
    ("America/Cancun", &["998", "984", "983", "987"]),
];

/// +61: Australia by geographic code; mobile numbers (4) say nothing of the place.
pub(super) const AUSTRALIA: &[Area] = &[
    ("Australia/Sydney", &["2"]),
    ("Australia/Melbourne", &["3"]),
    ("Australia/Brisbane", &["7"]),
    ("Australia/Adelaide", &["87", "88", "8"]),
    ("Australia/Darwin", &["889"]),
    ("Australia/Perth", &["86", "89"]),
];

/// +62: Indonesia by area code; mobile numbers (8) say nothing of the place.
pub(super) const INDONESIA: &[Area] = &[
    (
        "Asia/Pontianak",
        &[
            "513", "519", "522", "525", "531", "532", "534", "535", "536", "537", "538", "539", "56",
        ],
    ),
    (
        "Asia/Makassar",
        &[
            "36", "37", "38", "4", "511", "512", "517", "518", "526", "527", "54", "55",
        ],
    ),
    ("Asia/Jayapura", &["9"]),
];

/// +34: the Canary Islands.
pub(super) const SPAIN: &[Area] = &[("Atlantic/Canary", &["822", "828", "922", "928"])];

/// +351: Madeira and the Azores.
pub(super) const PORTUGAL: &[Area] = &[
    ("Atlantic/Madeira", &["291"]),
    ("Atlantic/Azores", &["292", "295", "296"]),
];
