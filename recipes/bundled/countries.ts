/**
 * Countries of the world, as facts that the weights are to hold.
 *
 * The list is our own, written from common knowledge; no data set was copied. `neighbour` is the
 * largest country by area with a common land border, counted in the continent of the country where it
 * has land on several (for France, Spain). What is disputed, or not one word to say, is left out (`-`).
 */

export interface Country {
  readonly name: string;
  readonly capital: string | undefined;
  readonly continent: string;
  readonly currency: string | undefined;
  readonly language: string | undefined;
  readonly neighbour: string | undefined;
}

/** Name, capital, continent, currency, main language, largest neighbour. */
const TABLE = `
France|Paris|Europe|euro|French|Spain
Spain|Madrid|Europe|euro|Spanish|France
Portugal|Lisbon|Europe|euro|Portuguese|Spain
Germany|Berlin|Europe|euro|German|France
Italy|Rome|Europe|euro|Italian|France
Belgium|Brussels|Europe|euro|Dutch|France
Switzerland|Bern|Europe|franc|German|France
Austria|Vienna|Europe|euro|German|Germany
Poland|Warsaw|Europe|zloty|Polish|Russia
Ukraine|Kyiv|Europe|hryvnia|Ukrainian|Russia
Russia|Moscow|Europe|ruble|Russian|China
Belarus|Minsk|Europe|ruble|-|Russia
Lithuania|Vilnius|Europe|euro|Lithuanian|Russia
Latvia|Riga|Europe|euro|Latvian|Russia
Estonia|Tallinn|Europe|euro|Estonian|Russia
Finland|Helsinki|Europe|euro|Finnish|Russia
Sweden|Stockholm|Europe|krona|Swedish|-
Norway|Oslo|Europe|krone|Norwegian|Russia
Denmark|Copenhagen|Europe|krone|Danish|Germany
Iceland|Reykjavik|Europe|krona|Icelandic|-
Ireland|Dublin|Europe|euro|English|Britain
Britain|London|Europe|pound|English|Ireland
Czechia|Prague|Europe|koruna|Czech|Germany
Slovakia|Bratislava|Europe|euro|Slovak|Ukraine
Hungary|Budapest|Europe|forint|Hungarian|Ukraine
Romania|Bucharest|Europe|leu|Romanian|Ukraine
Bulgaria|Sofia|Europe|-|Bulgarian|Turkey
Greece|Athens|Europe|euro|Greek|Turkey
Serbia|Belgrade|Europe|dinar|Serbian|Romania
Croatia|Zagreb|Europe|euro|Croatian|Hungary
Slovenia|Ljubljana|Europe|euro|Slovene|Italy
Albania|Tirana|Europe|lek|Albanian|Greece
Moldova|Chisinau|Europe|leu|Romanian|Ukraine
Turkey|Ankara|Asia|lira|Turkish|Iran
Georgia|Tbilisi|Asia|lari|Georgian|Russia
Armenia|Yerevan|Asia|dram|Armenian|Iran
Azerbaijan|Baku|Asia|manat|Azerbaijani|Russia
China|Beijing|Asia|yuan|Chinese|Russia
Japan|Tokyo|Asia|yen|Japanese|-
South Korea|Seoul|Asia|won|Korean|North Korea
North Korea|Pyongyang|Asia|won|Korean|Russia
Mongolia|Ulaanbaatar|Asia|tugrik|Mongolian|Russia
India|New Delhi|Asia|rupee|Hindi|China
Pakistan|Islamabad|Asia|rupee|Urdu|China
Bangladesh|Dhaka|Asia|taka|Bengali|India
Nepal|Kathmandu|Asia|rupee|Nepali|China
Bhutan|Thimphu|Asia|ngultrum|Dzongkha|China
Myanmar|Naypyidaw|Asia|kyat|Burmese|China
Thailand|Bangkok|Asia|baht|Thai|Myanmar
Vietnam|Hanoi|Asia|dong|Vietnamese|China
Laos|Vientiane|Asia|kip|Lao|China
Cambodia|Phnom Penh|Asia|riel|Khmer|Thailand
Malaysia|Kuala Lumpur|Asia|ringgit|Malay|Indonesia
Indonesia|Jakarta|Asia|rupiah|Indonesian|Papua New Guinea
Kazakhstan|Astana|Asia|tenge|Kazakh|Russia
Uzbekistan|Tashkent|Asia|som|Uzbek|Kazakhstan
Kyrgyzstan|Bishkek|Asia|som|Kyrgyz|China
Tajikistan|Dushanbe|Asia|somoni|Tajik|China
Turkmenistan|Ashgabat|Asia|manat|Turkmen|Kazakhstan
Iran|Tehran|Asia|rial|Persian|Pakistan
Iraq|Baghdad|Asia|dinar|Arabic|Saudi Arabia
Saudi Arabia|Riyadh|Asia|riyal|Arabic|Yemen
Yemen|Sanaa|Asia|rial|Arabic|Saudi Arabia
Oman|Muscat|Asia|rial|Arabic|Saudi Arabia
Qatar|Doha|Asia|riyal|Arabic|Saudi Arabia
Kuwait|Kuwait City|Asia|dinar|Arabic|Saudi Arabia
Jordan|Amman|Asia|dinar|Arabic|Saudi Arabia
Syria|Damascus|Asia|pound|Arabic|Turkey
Lebanon|Beirut|Asia|pound|Arabic|Syria
Egypt|Cairo|Africa|pound|Arabic|Sudan
Libya|Tripoli|Africa|dinar|Arabic|Algeria
Tunisia|Tunis|Africa|dinar|Arabic|Algeria
Algeria|Algiers|Africa|dinar|Arabic|Libya
Morocco|Rabat|Africa|dirham|Arabic|Algeria
Sudan|Khartoum|Africa|pound|Arabic|Libya
Ethiopia|Addis Ababa|Africa|birr|Amharic|Sudan
Kenya|Nairobi|Africa|shilling|Swahili|Ethiopia
Tanzania|Dodoma|Africa|shilling|Swahili|-
Somalia|Mogadishu|Africa|shilling|Somali|Ethiopia
Eritrea|Asmara|Africa|nakfa|Tigrinya|Sudan
Nigeria|Abuja|Africa|naira|English|-
Niger|Niamey|Africa|franc|-|Algeria
Mali|Bamako|Africa|franc|-|Algeria
Senegal|Dakar|Africa|franc|French|Mali
Ivory Coast|Yamoussoukro|Africa|franc|French|Mali
Ghana|Accra|Africa|cedi|English|Ivory Coast
Angola|Luanda|Africa|kwanza|Portuguese|-
Zambia|Lusaka|Africa|kwacha|English|-
Zimbabwe|Harare|Africa|-|English|South Africa
South Africa|Pretoria|Africa|rand|-|Namibia
Namibia|Windhoek|Africa|-|English|Angola
Botswana|Gaborone|Africa|pula|English|South Africa
Mozambique|Maputo|Africa|metical|Portuguese|South Africa
Madagascar|Antananarivo|Africa|ariary|Malagasy|-
Canada|Ottawa|North America|dollar|English|America
America|Washington|North America|dollar|English|Canada
Mexico|Mexico City|North America|peso|Spanish|America
Guatemala|Guatemala City|North America|quetzal|Spanish|Mexico
Honduras|Tegucigalpa|North America|lempira|Spanish|Nicaragua
El Salvador|San Salvador|North America|dollar|Spanish|Honduras
Nicaragua|Managua|North America|cordoba|Spanish|Honduras
Costa Rica|San Jose|North America|colon|Spanish|Nicaragua
Panama|Panama City|North America|balboa|Spanish|Colombia
Cuba|Havana|North America|peso|Spanish|-
Jamaica|Kingston|North America|dollar|English|-
Colombia|Bogota|South America|peso|Spanish|Brazil
Venezuela|Caracas|South America|bolivar|Spanish|Brazil
Guyana|Georgetown|South America|dollar|English|Brazil
Suriname|Paramaribo|South America|dollar|Dutch|Brazil
Ecuador|Quito|South America|dollar|Spanish|Peru
Peru|Lima|South America|sol|Spanish|Brazil
Bolivia|Sucre|South America|boliviano|Spanish|Brazil
Brazil|Brasilia|South America|real|Portuguese|Argentina
Paraguay|Asuncion|South America|guarani|Spanish|Brazil
Uruguay|Montevideo|South America|peso|Spanish|Brazil
Argentina|Buenos Aires|South America|peso|Spanish|Brazil
Chile|Santiago|South America|peso|Spanish|Argentina
Australia|Canberra|Oceania|dollar|English|-
New Zealand|Wellington|Oceania|dollar|English|-
Fiji|Suva|Oceania|dollar|-|-
Papua New Guinea|Port Moresby|Oceania|kina|-|Indonesia
`;

export const COUNTRIES: readonly Country[] = TABLE.trim()
  .split('\n')
  .map((line) => {
    const cells = line.split('|').map((cell) => (cell === '-' ? undefined : cell));
    const [name, capital, continent, currency, language, neighbour] = cells;
    return { name: name!, capital, continent: continent!, currency, language, neighbour };
  });

/** Relations of a country that a chain can follow, and the words they go by. */
export const RELATIONS = ['capital', 'continent', 'currency', 'language', 'neighbour'] as const;
export type Relation = (typeof RELATIONS)[number];
