//! `reject-refusal`: a model that declines, in plain words. Asked about one row alone, or made to fill a field, it puts its
//! refusal where the answer belongs, and no id gives it away.

use std::borrow::Cow;
use std::sync::LazyLock;

use promptmill_core::About;
use regex::RegexSet;
use schemars::JsonSchema;
use serde::Deserialize;

use super::excerpt::excerpt;
use super::sentences::sentences;
use super::{Rejection, Step, StepConfig, StepContext};

/// Rejects answers in which the model declines to answer (`Het spijt me, maar ik kan niet helpen met dit verzoek.`), says that
/// it is only a language model, or asks for the text instead, in Dutch, English, German, French and Spanish, whatever
/// language the answer should be in. Only the first sentences are looked at, and what stands in quotes is somebody
/// else's.
#[derive(Debug, Clone, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct RejectRefusal {}

impl StepConfig for RejectRefusal {
    const NAME: &'static str = "reject-refusal";
    const EXAMPLE: &'static str = "";
    const SUMMARY: &'static str = "Rejects answers in which the model declines to answer.";
    const REASONS: &'static [&'static str] = &["refusal"];

    fn compile(self, _: &StepContext) -> Result<Box<dyn Step>, String> {
        Ok(Box::new(Refusal))
    }
}

/// A refusal comes at once: an answer that begins with so many sentences of another kind is none.
const SENTENCES: usize = 2;

#[derive(Debug)]
struct Refusal;

impl Step for Refusal {
    fn apply<'t>(&self, text: &'t str, _: &About<'_>) -> Result<Cow<'t, str>, Rejection> {
        let told = without_quotations(text);
        let refused = sentences(&told).take(SENTENCES).find(|range| REFUSALS.is_match(&told[range.clone()]));
        match refused {
            Some(range) => Err(Rejection::new("refusal", format!("the model declines: `{}`", excerpt(&told[range])))),
            None => Ok(Cow::Borrowed(text)),
        }
    }
}

/// The text with plain apostrophes and without what stands between quotation marks, unless that is all there is.
fn without_quotations(text: &str) -> String {
    let mut told = String::with_capacity(text.len());
    let mut closing = None;
    for c in text.trim().trim_matches(['"', '“', '”', '«', '»']).chars() {
        match closing {
            Some(end) if c == end => closing = None,
            Some(_) => {}
            None => {
                closing = match c {
                    '"' => Some('"'),
                    '“' | '„' => Some('”'),
                    '«' => Some('»'),
                    '‘' => Some('’'),
                    _ => None,
                };
                if closing.is_none() {
                    told.push(if c == '’' { '\'' } else { c });
                }
            }
        }
    }
    // A mark that is never closed has taken the rest with it.
    if closing.is_some() { text.replace('’', "'") } else { told }
}

/// What a sentence says in which a model declines.
static REFUSALS: LazyLock<RegexSet> = LazyLock::new(|| {
    // In short: `I`, something that denies, and then what a model is asked for. What it is asked for is needed, for in
    // a text that speaks for somebody `I cannot sleep` is an answer.
    let patterns = [
        // Dutch
        r"\bik (?:kan|mag|wil|zal|ga|moet)(?: \w+){0,4}? (?:niet|geen|niets)\b[^.!?]{0,80}\b(?:help\w*|assister\w*|bijstaan|voldoen|ingaan|reageren|beantwoord\w*|antwoord\w*|uitleg\w*|toelicht\w*|samenvat\w*|verzoek|vraag|opdracht|taak|inhoud|tekst|informatie|gener\w+|schrijven|opstellen|verwerken|verstrekken|uitvoeren|bespreken|beschrijven|doen)\b",
        r"\b(?:helaas|daarom|daarmee|hiermee|hierover|daarover|hierbij|dus|maar|dan|nu|dat|dit) (?:kan|mag|wil|zal) ik(?: \w+){0,5}? (?:niet|geen|niets)\b",
        r"\b(?:kan|mag|wil) ik(?: \w+){0,5}? (?:niet|geen|niets)\b[^.!?]{0,60}\b(?:help\w*|assister\w*|voldoen|ingaan|beantwoord\w*|antwoord\w*|uitleg\w*|samenvat\w*|verzoek|vraag|tekst|informatie|verwerken|verstrekken|uitvoeren|gener\w+|schrijven)\b",
        r"\b(?:ik ben|ben ik) (?:helaas |hier )?niet (?:in staat|bij machte|bevoegd)\b",
        r"\bik moet (?:\w+ ){0,4}(?:weigeren|afwijzen|afslaan|teleurstellen)\b|\bik weiger\b",
        r"^\W*(?:het spijt (?:me|mij)|mijn excuses)\b[^.!?]{0,40}(?:,| maar |\bik\b|\bmij\b|\bme\b|$|[.!])",
        // To say sorry is what others may do, too.
        r"^\W*(?:sorry|excuses|excuseer)(?:,|\b[^.!?,]{0,24}(?:,? (?:maar|ik|mij|me)\b|[.!]|$))",
        r"^\W*(?:(?:het lijkt erop dat|blijkbaar) )?(?:er (?:is|staat|wordt|werd) )?geen (?:tekst|motie|inhoud) (?:\w+ )?(?:mee|meegegeven|meegestuurd|meegeleverd|bijgevoegd|opgegeven|gegeven)\b|^\W*(?:(?:het lijkt erop dat|blijkbaar) )?(?:de|uw|je) (?:tekst|inhoud) (?:ontbreekt|leeg is|is leeg)\W*$",
        r"^\W*(?:kun je|kunt u|wil je|wilt u|zou je|zou u) (?:die|deze|hem|het|ze)(?: (?:alsnog|nog|even|opnieuw|alstublieft|alsjeblieft|met mij|mij|me|hier)){0,3} (?:kunnen |willen )?(?:sturen|delen|plakken|toevoegen|geven|aanleveren)\W*$",
        r"\bals (?:een )?(?:ai|a\.i\.|ki|kunstmatige|taalmodel|groot taalmodel|assistent|virtuele|digitale)\b[^.!?]{0,60}\b(?:ik|mij|me)\b",
        r"\bik (?:ben|blijf) (?:slechts |maar |enkel |alleen )?een (?:ai|ki|taalmodel|groot taalmodel|virtuele|digitale|kunstmatige)\b",
        r"^\W*(?:dit|uw|je|jouw|het) (?:verzoek|vraag|opdracht)\b[^.!?]{0,40}\b(?:kan|kon|mag)\b[^.!?]{0,30}\bniet\b[^.!?]{0,40}\b(?:worden|uitgevoerd|verwerkt|beantwoord|ingewilligd)\b",
        r"^\W*(?:niet mogelijk|onmogelijk|kan (?:helaas )?niet) (?:om )?(?:te )?(?:help\w*|beantwoord\w*|verwerk\w*|voldoen|uitvoeren|(?:dit|deze|het|uw) (?:verzoek|vraag))",
        r"\b(?:in strijd|strijdig) met (?:mijn|onze) (?:richtlijnen|beleid|regels|principes|programmering)\b",
        r"\b(?:geef|stuur|deel|plak|verstrek|lever)(?:t)? (?:me|mij|ons|dan|hier|alstublieft|alsjeblieft|a\.u\.b\.|graag| )*(?:eerst )?de (?:volledige )?(?:tekst|motie|inhoud|gegevens)\b",
        r"\b(?:kun je|kunt u|wil je|wilt u|zou je|zou u)\b[^.!?]{0,40}\b(?:tekst|motie|inhoud|context|informatie|gegevens)\b[^.!?]{0,30}\b(?:geven|sturen|delen|plakken|aanleveren|verstrekken|toevoegen)\b",
        r"\bik (?:heb|zie|ontvang|vind) (?:helaas |hier )?geen (?:\w+ )?(?:tekst|motie|inhoud|toegang|invoer|document|informatie over)\b",
        // English
        r"\bi (?:can ?not|can't|cant|won't|will not|would not|wouldn't|may not|could not|couldn't|must not|shouldn't)\b[^.!?]{0,80}\b(?:help|assist|aid|support|provid\w*|answer\w*|complet\w*|comply|fulfil\w*|generat\w*|creat\w*|writ\w*|produc\w*|offer|summari[sz]\w*|explain\w*|discuss\w*|engag\w*|process\w*|respond\w*|participat\w*|continue|proceed|shar\w*|do that|do this|request|question|task)\b",
        r"\bi(?:'m| am|'m afraid i'm)(?: \w+){0,2} (?:unable|not able|not allowed|not permitted|not in a position|not going|not comfortable|not programmed|not designed)\b",
        r"\bi (?:\w+ )?(?:must|have to|need to|will have to|'ll have to) (?:\w+ )?(?:decline|refuse|pass)\b|\bi (?:respectfully |politely )?(?:decline|refuse) to\b",
        r"^\W*(?:i'm|i am|we're|we are)?\W*(?:so |very |really |truly |deeply |terribly )?sorry\b[^.!?]{0,12}(?:,| but |\bi\b|$|[.!])",
        r"^\W*(?:i apologi[sz]e|my apologies|apologies|unfortunately,? i|regrettably,? i|i regret)\b",
        r"\bas an? (?:ai|a\.i\.|artificial|language model|large language|assistant|virtual|text-based)\b[^.!?]{0,60}\b(?:i|my|me)\b",
        r"\bi(?:'m| am) (?:just |only |merely )?an? (?:ai|artificial|language model|large language|virtual assistant|text-based)\b",
        r"^\W*(?:unable|not able|cannot|can't|can not) (?:to )?(?:help|assist|process|complete|answer|fulfil\w*|comply|provide|generate|summari[sz]e|respond)\b",
        r"^\W*(?:this|your|the|that) (?:request|question|prompt|task)\b[^.!?]{0,30}\b(?:can ?not|can't|could not|couldn't|is unable|will not)\b[^.!?]{0,20}\b(?:be )?(?:answered|completed|processed|fulfil\w*|handled|done)\b",
        r"\b(?:against|violat\w+|in conflict with|goes against) (?:my|our|the) (?:\w+ )?(?:guidelines|polic\w+|programming|principles|rules|content)\b[^.!?]{0,40}$",
        r"\b(?:please|could you|can you|would you|kindly)\b[^.!?]{0,20}\b(?:provide|share|paste|send|give|supply|include)\b[^.!?]{0,30}\b(?:text|motion|item|content|context|details|information|input|document)\b",
        r"\bi (?:do not|don't|cannot|can't) (?:have|see|find|access) (?:\w+ )?(?:text|motion|content|access|input|enough|the text|any|information about)\b",
        r"^\W*(?:please|could you|can you|would you|kindly)(?: please| kindly)? (?:provide|share|paste|send|resend|give|supply|include|attach) (?:it|them|this|that|one)\b[^.!?]{0,20}\W*$",
        r"^\W*(?:it (?:seems|looks|appears)(?: like| that| as if| as though)? )?(?:there (?:is|was) )?no (?:text|motion|content|input|document) (?:\w+ )?(?:provided|supplied|attached|given|included|to (?:summari[sz]e|explain))\b[^.!?]{0,20}\W*$",
        r"^\W*(?:it (?:seems|looks|appears)(?: like| that| as if| as though)? )?(?:the|your) (?:text|motion|content|input|message|document) (?:is|was|seems to be|appears to be) (?:missing|empty|not provided|not included)\W*$",
        // German
        r"\bich (?:kann|darf|werde|will|möchte|muss)(?: \w+){0,6}? (?:nicht|kein\w*|nichts)\b[^.!?]{0,80}\b(?:helfen|behilflich|weiterhelfen|unterstützen|beantworten|antworten|nachkommen|entsprechen|eingehen|erfüllen|bearbeiten|verarbeiten|erklären|erläutern|zusammenfassen|erstellen|schreiben|verfassen|liefern|geben|bereitstellen|ausführen|generieren|anfrage|frage|bitte|aufgabe|informationen|tun)\b",
        r"\b(?:leider|daher|deshalb|dabei|hierbei|damit|dazu|hierzu|aber|also|dann|das|dies|darum|ihnen|dir) (?:kann|darf|werde|möchte) ich(?: \w+){0,6}? (?:nicht|kein\w*|nichts)\b",
        r"\b(?:ich bin|bin ich) (?:leider |hierzu |dazu )?(?:nicht in der lage|nicht befugt|nicht berechtigt|außerstande|außer stande)\b",
        r"\bich muss\b[^.!?]{0,50}\b(?:ablehnen|verweigern|zurückweisen|absagen)\b|\bich (?:lehne|verweigere)\b[^.!?]{0,50}\b(?:ab|antwort|anfrage|bitte)\b",
        r"^\W*(?:es tut mir (?:sehr |wirklich )?leid|tut mir leid|ich entschuldige mich|ich bedaure|bedauerlicherweise (?:kann|darf|bin) ich)\b",
        r"^\W*(?:entschuldigung|entschuldige|entschuldigen sie|verzeihung|sorry)(?:,|[.!]|:|$| (?:bitte|aber|für|dass|ich|das|dafür|dabei)\b)",
        r"^\W*(?:es scheint, dass |offenbar )?kein (?:text|antrag|inhalt) (?:\w+ )?(?:angegeben|beigefügt|übermittelt|mitgegeben|bereitgestellt|vorhanden)\b|^\W*(?:der|ihr|dein) (?:text|inhalt) (?:fehlt|ist leer|wurde nicht (?:angegeben|beigefügt|übermittelt|bereitgestellt))\W*$",
        r"^\W*(?:bitte|können sie|kannst du|könnten sie|könntest du) (?:ihn|es|sie|diesen|das)(?: (?:bitte|mir|noch|einmal|hier|erneut)){0,3} (?:senden|schicken|zusenden|teilen|einfügen|bereitstellen|mitteilen|nachreichen)\W*$",
        r"\bals (?:eine? )?(?:ki|ai|künstliche\w*|sprachmodell|großes sprachmodell|assistent\w*|virtuelle\w*)\b[^.!?]{0,60}\b(?:ich|mir|mich)\b",
        r"\bich bin (?:nur |lediglich |bloß )?eine? (?:ki|ai|sprachmodell|großes sprachmodell|künstliche\w*|virtuelle\w*)\b",
        r"^\W*(?:diese|ihre|deine|die) (?:anfrage|frage|bitte|aufgabe)\b[^.!?]{0,30}\b(?:kann|konnte|darf)\b[^.!?]{0,30}\bnicht\b[^.!?]{0,30}\b(?:werden|beantwortet|bearbeitet|ausgeführt)\b",
        r"\b(?:gegen|verstößt gegen|widerspricht) (?:meine[nr]?|unsere[nr]?) (?:richtlinien|grundsätze\w*|vorgaben|programmierung|regeln)\b",
        r"\b(?:bitte|können sie|kannst du|könnten sie|könntest du)\b[^.!?]{0,30}\b(?:den text|den antrag|den inhalt|mehr kontext|weitere informationen|mehr informationen)\b",
        r"\bich (?:habe|sehe|finde|erhalte) (?:leider |hier )?keine?n? (?:\w+ )?(?:text|antrag|inhalt|zugriff|zugang|eingabe|dokument)\b",
        // French
        r"\bje (?:ne|n') ?(?:peux|puis|suis|saurais|pourrai|vais|veux|dois|souhaite)\b[^.!?]{0,20}\bpas\b[^.!?]{0,90}\b(?:aider|assister|répondre|fournir|donner|traiter|satisfaire|accéder|générer|rédiger|écrire|créer|résumer|expliquer|accomplir|exécuter|effectuer|discuter|donner suite|en mesure|autorisée?|capable|demande|requête|question|faire)\b",
        r"\bje (?:ne|n') ?(?:peux|puis|saurais) (?:malheureusement |pas |vous |t'|te )*(?:aider|répondre)\b",
        r"\bil m'est (?:malheureusement )?impossible\b|\bje suis (?:malheureusement )?(?:dans l'impossibilité|incapable)\b|\bje (?:dois|suis obligée? de|suis contrainte? de|me vois contrainte? de) (?:malheureusement )?(?:refuser|décliner)\b|\bje (?:refuse|décline)\b",
        r"^\W*(?:(?:je suis|nous sommes) (?:vraiment |sincèrement )?(?:désolée?s?|navrée?s?)|désolée?|je m'excuse|je regrette|toutes mes excuses|mes excuses|pardon|excusez-moi)\b[^.!?]{0,12}(?:,| mais |\bje\b|\bde\b|$|[.!])",
        r"\ben tant qu(?:e |')(?:ia|intelligence|modèle|assistante?|grand modèle)\b[^.!?]{0,80}\b(?:je|j'|me|m')",
        r"\bje (?:ne )?suis (?:qu'|seulement |simplement |juste )?une? (?:ia|intelligence artificielle|modèle de langage|assistante? virtuel\w*)\b",
        r"^\W*(?:cette|votre|ta|la) (?:demande|requête|question)\b[^.!?]{0,20}\b(?:ne peut|n'a pu|ne pourra)\b[^.!?]{0,10}\b(?:pas )?être\b",
        r"\b(?:contraire à|contre|enfreint|viole) (?:mes|nos) (?:règles|directives|principes|consignes|politiques)\b",
        r"\b(?:veuillez|pouvez-vous|pourriez-vous|peux-tu|merci de)\b[^.!?]{0,30}\b(?:fournir|envoyer|donner|partager|coller|transmettre|préciser)\b[^.!?]{0,30}\b(?:texte|motion|contenu|contexte|informations?|détails|document)\b",
        r"\bje n'ai (?:malheureusement )?(?:pas (?:reçu |accès |trouvé )|aucun)(?:\w+ |à |au |de )*(?:texte|motion|contenu|accès|document|information)?",
        r"^\W*(?:il semble qu(?:e |'))?aucune? (?:texte|contenu|document|motion) n'(?:a été|est) (?:fournie?|jointe?|transmise?|reçue?|donnée?)\b|^\W*(?:il semble que )?(?:le|votre) (?:texte|contenu) (?:est manquant|semble manquant|manque|est vide)\W*$",
        r"^\W*(?:pouvez-vous|pourriez-vous|peux-tu|pourrais-tu|merci de)(?: \w+)? (?:me |nous )?(?:l'|les? |la )(?:envoyer|partager|fournir|transmettre|coller|renvoyer|joindre)\b[^.!?]{0,20}\W*$",
        // Spanish
        r"\b(?:no puedo|no podré|no podría|no voy a|no debo|no me es posible|no estoy (?:en condiciones|autorizad[oa]|capacitad[oa]|programad[oa])|no soy capaz)\b[^.!?]{0,90}\b(?:ayudar\w*|asistir\w*|responder\w*|contestar\w*|proporcionar\w*|ofrecer\w*|dar|darte|darle|cumplir\w*|generar\w*|escribir\w*|redactar\w*|crear\w*|resumir\w*|explicar\w*|procesar\w*|atender\w*|completar\w*|realizar\w*|hacer\w*|solicitud|petición|pregunta|tarea)\b",
        r"\bme (?:es|resulta) imposible\b|\bdebo (?:rechazar|declinar|negarme)\b|\btengo que (?:rechazar|declinar)\b|\bme niego a\b",
        r"^\W*(?:lo siento|lo lamento|lamento|mis disculpas|siento)\b[^.!?]{0,24}(?:,| pero |\bno\b|$|[.!])",
        r"^\W*(?:perdón|perdona|perdone|disculpa|disculpe)(?:,|[.!]|$| pero\b|,? (?:no|pero) (?:puedo|me|te|le)\b| por\b)",
        r"^\W*(?:parece que )?(?:no se (?:ha|han) (?:proporcionado|facilitado|adjuntado|incluido|recibido) (?:ningún|ninguna|el|la) (?:texto|moción|contenido|documento)|(?:falta|no hay) (?:el|la|ningún|ninguna) (?:texto|moción|contenido|documento)(?: para \w+)?\W*$)",
        r"^\W*(?:podría|podrías|puede|puedes)(?: por favor)? (?:enviar|compartir|proporcionar|facilitar|pegar|mandar|adjuntar)(?:me)?(?:lo|la|los|las)\b",
        r"\bcomo (?:una? )?(?:ia|inteligencia artificial|modelo de lenguaje|modelo de idioma|gran modelo|asistente)\b[^.!?]{0,60}\b(?:no|me|mi|mis)\b",
        r"\b(?:solo |sólo |únicamente )?soy (?:solo |sólo |únicamente |simplemente )?una? (?:ia|inteligencia artificial|modelo de lenguaje|modelo de idioma|asistente virtual)\b",
        r"^\W*(?:esta|su|tu|la) (?:solicitud|petición|pregunta|tarea)\b[^.!?]{0,20}\bno (?:puede|pudo|podrá)\b[^.!?]{0,20}\b(?:ser )?(?:respondida|procesada|atendida|completada|realizada)\b",
        r"\b(?:contra|viola|infringe|va en contra de) (?:mis|nuestras) (?:normas|directrices|políticas|reglas|principios)\b",
        r"\b(?:por favor|podría|podrías|puede|puedes)\b[^.!?]{0,30}\b(?:proporcion\w+|envi\w+|compart\w+|peg\w+|facilit\w+|indi\w+)\b[^.!?]{0,30}\b(?:texto|moción|contenido|contexto|información|detalles|documento)\b",
        r"\bno (?:tengo acceso|he recibido|veo|encuentro) (?:\w+ ){0,3}(?:texto|moción|contenido|documento|información)\b|\bno tengo acceso a\b",
    ];
    regex::RegexSetBuilder::new(patterns)
        .case_insensitive(true)
        .size_limit(64 << 20)
        .build()
        .unwrap_or_else(|error| unreachable!("the patterns are tested: {error}"))
});

#[cfg(test)]
mod tests {
    use super::super::samples::{DUTCH, ENGLISH, FRENCH, GERMAN, SPANISH, answers};
    use super::super::samples::{REFUSING, refusals};
    use super::*;

    fn is_refused(text: &str) -> bool {
        RejectRefusal {}.compile(&StepContext::default()).expect("compiles").apply(text, &About::NOTHING).is_err()
    }

    #[test]
    fn refusals_in_five_languages_are_noticed() {
        for language in ["nl", "en", "de", "fr", "es"] {
            let texts = refusals(language);
            assert!(texts.len() >= 400, "{language}: {}", texts.len());
            let passed: Vec<&String> = texts.iter().filter(|text| !is_refused(text)).collect();
            let share = 1.0 - passed.len() as f64 / texts.len() as f64;
            assert!(share >= 0.99, "{language}: {share} of {} caught; not {:#?}", texts.len(), &passed[..passed.len().min(20)]);
        }
    }

    #[test]
    fn answers_are_kept_also_those_about_refusing() {
        for (language, own, refusing) in [
            ("nl", DUTCH, REFUSING[0]),
            ("en", ENGLISH, REFUSING[1]),
            ("de", GERMAN, REFUSING[2]),
            ("fr", FRENCH, REFUSING[3]),
            ("es", SPANISH, REFUSING[4]),
        ] {
            let mixed: Vec<&str> = refusing.iter().flat_map(|about| [*about, own[about.len() % own.len()]]).collect();
            let texts: Vec<String> = answers(own).into_iter().chain(answers(&mixed)).chain(answers(refusing)).collect();
            let rejected: Vec<&String> = texts.iter().filter(|text| is_refused(text)).collect();
            let share = rejected.len() as f64 / texts.len() as f64;
            assert!(share <= 0.005, "{language}: {share} of {} rejected, such as {:#?}", texts.len(), &rejected[..rejected.len().min(10)]);
        }
    }

    #[test]
    fn what_others_say_is_no_refusal_of_the_model() {
        assert!(is_refused("Het spijt me, maar ik kan niet helpen met dit verzoek."));
        assert!(is_refused("“I'm sorry, but I can’t assist with that.”"));
        assert!(is_refused("Natuurlijk! Helaas kan ik deze motie niet samenvatten."));
        for refused in [
            "It seems that the text is missing. Could you share it?",
            "No text was provided.",
            "There is no text to summarize. Please send it.",
            "De tekst ontbreekt. Kunt u die alsnog sturen?",
            "Er is geen tekst meegegeven.",
            "Der Text fehlt. Könnten Sie ihn bitte senden?",
            "Kein Text wurde angegeben.",
            "Le texte est manquant. Pourriez-vous me l'envoyer ?",
            "Aucun texte n'a été fourni.",
            "No se ha proporcionado ningún texto para resumir.",
            "Falta el texto. ¿Podría enviarlo?",
        ] {
            assert!(is_refused(refused), "{refused}");
        }
        for kept in [
            "De minister antwoordde: “Ik kan u daar niet bij helpen.” De Kamer neemt daar geen genoegen mee.",
            "De gemeente zegt ‘het spijt me, maar ik kan niet helpen’ tegen wie schulden heeft.",
            "De motie gaat over weigeren. De wet staat dat toe. Ik kan niet helpen, zei de arts.",
            "Sorry zeggen is niet genoeg, vindt de Kamer: slachtoffers moeten ook geld krijgen.",
            "Excuses aanbieden helpt de slachtoffers niet, zegt de Kamer.",
            "Sorry is not enough, says the House: victims need money too.",
            "Entschuldigung reicht nicht, findet der Rat: Opfer brauchen auch Geld.",
            "Perdón no basta, dice la Cámara: las víctimas necesitan dinero.",
            "De tekst van de wet ontbreekt in het dossier, en de Kamer wil die voor de zomer.",
            "The text of the treaty is missing from the file, and the House wants it before summer.",
            "Der Antrag wurde nicht angenommen, weil das Geld fehlt.",
            "De motie is niet aangenomen. De tekst is later gegeven aan de Kamer.",
            "The text was supplied by the ministry. The document is attached to the law.",
            "La motion n'a été adoptée qu'en partie. Le texte n'est pas clair, dit la Chambre.",
            "Könnten Städte es sich leisten, gäbe es mehr Busse.",
            "El Gobierno no ha enviado el documento a la Cámara.",
            "",
            "“",
        ] {
            assert!(!is_refused(kept), "{kept}");
        }
    }
}
